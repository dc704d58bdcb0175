// Timeouts that are cleared together.

export class Timers {
  #running = new Set();

  /** Calls `act` after that many milliseconds, unless all are cleared before. */
  after(ms, act) {
    const timer = setTimeout(() => {
      this.#running.delete(timer);
      act();
    }, ms);
    this.#running.add(timer);
  }

  clear() {
    for (const timer of this.#running) clearTimeout(timer);
    this.#running.clear();
  }
}
