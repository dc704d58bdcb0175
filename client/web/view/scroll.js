// Keeps the newest in view unless the reader has gone back to read. The reader always wins: any move upwards, by
// wheel, touch, keys, scroll bar or a screen reader's cursor, ends the following until the end is in view again.

const AT_END = 4; // pixels
const LEAVING_MS = 300;

export class Follower {
  #last = 0;
  #height = 0;
  #touching = false;
  #leaving = 0;

  /** `newest()` gives the scroll position at which the newest is in view. */
  constructor(box, button, newest) {
    this.box = box;
    this.button = button;
    this.newest = newest;
    this.isAway = false;
    box.addEventListener("scroll", () => this.#scrolled());
    box.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && this.#leave(), { passive: true });
    box.addEventListener("touchstart", () => (this.#touching = true), { passive: true });
    for (const end of ["touchend", "touchcancel"]) {
      box.addEventListener(end, ({ touches }) => {
        this.#touching = touches.length > 0;
        this.#look();
      });
    }
    box.addEventListener("keydown", ({ key, target }) => {
      if (target.matches("input, textarea")) return;
      if (["ArrowUp", "PageUp", "Home"].includes(key)) this.#leave();
    });
    button.addEventListener("click", () => this.toNewest());
    new ResizeObserver(() => this.follow()).observe(box); // turned or resized, the text breaks elsewhere
  }

  /** Something was added or has grown. */
  follow() {
    requestAnimationFrame(() => {
      if (!this.isAway && !this.#touching) {
        this.box.scrollTop = Math.max(this.box.scrollTop, this.newest());
        this.#last = this.box.scrollTop; // a move back may come before this one is told of
      }
      this.#look();
    });
  }

  /** The reader wants the newest: by the button, or by saying something. */
  toNewest() {
    this.isAway = false;
    this.box.scrollTop = this.newest();
    this.follow();
  }

  #leave() {
    if (this.box.scrollTop <= 0) return;
    this.isAway = true;
    this.#leaving = performance.now() + LEAVING_MS; // the page has not moved yet
    setTimeout(() => this.#look(), LEAVING_MS + 20);
    this.#look();
  }

  #scrolled() {
    const { scrollTop, scrollHeight } = this.box;
    // A text that has become shorter moves what is shown, too; that is not the reader's doing.
    if (scrollTop < this.#last - 1 && scrollHeight >= this.#height) this.isAway = true;
    this.#last = scrollTop;
    this.#height = scrollHeight;
    this.#look();
  }

  #look() {
    const left = this.newest() - this.box.scrollTop;
    if (left <= AT_END && performance.now() > this.#leaving) this.isAway = false;
    this.button.hidden = !this.isAway;
    this.#height = this.box.scrollHeight;
  }
}
