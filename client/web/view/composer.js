// The line being written: it grows with its text, is sent with Enter, and survives a reload.

import { byId } from "../dom.js";
import { Stored } from "../storage.js";

const draft = new Stored("draft");

/** Whether a key belongs to an input method that is composing. Safari reports the Enter that ends it as 229 alone. */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

export class Composer {
  /** `onSay(text)` gives whether the line was taken. */
  constructor(onSay) {
    this.line = byId("line");
    byId("say").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.line.value.trim();
      if (text && onSay(text)) this.write("");
      this.line.focus();
    });
    this.line.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
      event.preventDefault();
      byId("say").requestSubmit();
    });
    this.line.addEventListener("input", () => this.#changed());
    this.write(this.line.value || draft.read() || "");
  }

  get text() {
    return this.line.value;
  }

  write(text) {
    this.line.value = text;
    this.#changed();
  }

  #changed() {
    const { value } = this.line;
    this.line.rows = Math.min(6, Math.max(1, value.split("\n").length, Math.ceil(value.length / 46)));
    draft.write(value || null);
  }
}
