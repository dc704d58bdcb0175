// The storyteller's waking as a countdown that is true: what the server reports, smoothed only so far
// that it never goes back. Knows no page. The twin of `client/terminal/countdown.py`.

export class Countdown {
  #wake = null;
  #heardAt = 0;
  #began = 0;
  #readAt = 0;
  #left = null; // the seconds shown, falling only
  #progress = 0;

  /** A report has come; `now` in seconds, of any steady clock. */
  hear(wake, now) {
    if (wake.state !== this.#wake?.state && wake.state !== "ready") {
      // A new waking: only here may the figures begin again.
      this.#began = this.#readAt = now;
      this.#left = null;
      this.#progress = 0;
    }
    this.#wake = wake;
    this.#heardAt = now;
    this.#progress = Math.max(this.#progress, wake.progress ?? 0);
  }

  /** What to show now: `{state, progress, leftS, elapsedS, position}`; `leftS` null where nothing is known. */
  read(now) {
    const wake = this.#wake;
    if (!wake) {
      this.#began ||= now;
      return { state: "unknown", progress: 0, leftS: null, elapsedS: now - this.#began };
    }
    if (wake.state === "waking" && wake.eta_s !== undefined) {
      const expected = Math.max(0, wake.eta_s - (now - this.#heardAt));
      if (this.#left === null || expected <= this.#left) this.#left = expected;
      else {
        // It takes longer than was thought: count more slowly, so that both reach zero together.
        const passed = now - this.#readAt;
        this.#left = Math.max(0, this.#left - passed * (this.#left / expected));
      }
    }
    this.#readAt = now;
    return {
      state: wake.state,
      progress: wake.state === "ready" ? 1 : this.#progress,
      leftS: wake.state === "waking" ? this.#left : null,
      elapsedS: now - this.#began,
      position: wake.position,
    };
  }
}

/** The same in words: what it comes to, and the figures behind it, which change every second. */
export function inWords({ state, progress, leftS, elapsedS, position }) {
  const figures = `${Math.floor(progress * 100)} % read, ${Math.floor(elapsedS)} s so far`;
  switch (state) {
    case "ready":
      return ["The storyteller is awake", ""];
    case "queued":
      return [position ? `Place ${position} in line for a storyteller` : "In line for a storyteller", `${Math.floor(elapsedS)} s so far`];
    case "failed":
      return ["The storyteller could not be woken", "Written answers still come; say a line to try again"];
    case "waking":
      if (leftS === null) return ["The storyteller is waking", figures];
      return [leftS >= 1.5 ? `Awake in about ${Math.round(leftS)} s` : "Awake any moment now", figures];
    default:
      return ["Connecting", `${Math.floor(elapsedS)} s so far`];
  }
}
