// The prologue's pace: a beat's lines in their own time, then its question or its end. The server sits
// idle meanwhile.

import { Timers } from "../timers.js";

/** Reading speed in characters a second, and the bounds of the pause after a beat's last line, in seconds. */
const READING = { perSecond: 18, least: 1.2, most: 2.5 };

export class Pacer {
  #timers = new Timers();

  /** `onLine(text, beat)`, `onQuestion(beat)` and `onEnd(beat)` are called in time. */
  constructor({ onLine, onQuestion, onEnd }) {
    Object.assign(this, { onLine, onQuestion, onEnd });
  }

  /** `told`: how many of its lines were shown already, on an earlier visit. */
  tell(beat, told = 0) {
    this.stop();
    let endS = 0;
    const lines = beat.lines.toSorted((a, b) => a.at_s - b.at_s);
    const began = told ? (lines[told - 1] ?? lines.at(-1)).at_s : 0;
    for (const { text, at_s } of lines.slice(told)) {
      const atS = at_s - began;
      this.#at(atS, () => this.onLine(text, beat));
      endS = Math.max(endS, atS + Math.min(READING.most, Math.max(READING.least, text.length / READING.perSecond)));
    }
    // A question follows its last line closely; the reader decides how long it stands.
    if (beat.ask) this.#at(Math.max(0, endS - 0.6), () => this.onQuestion(beat));
    else this.#at(endS, () => this.onEnd(beat));
  }

  stop() {
    this.#timers.clear();
  }

  #at(seconds, act) {
    this.#timers.after(seconds * 1000, act);
  }
}
