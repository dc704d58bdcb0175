// What a screen reader hears, and the browser's own voice where the visitor asked for it: whole sentences, not tokens.

import { make } from "../dom.js";

export class Announcer {
  #spoken = new Map(); // turn -> how much of its text was announced

  /** `voice.say(text)` reads aloud, or does not. */
  constructor(element, voice) {
    this.element = element;
    this.voice = voice;
  }

  say(text) {
    this.element.append(make("p", text, { dir: "auto" }));
    while (this.element.children.length > 12) this.element.firstChild.remove();
    this.voice.say(text);
  }

  /** This turn is on the page from now on; what is told already is not announced. */
  add(turn) {
    this.#spoken.set(turn, turn.live ? 0 : Infinity);
  }

  /** The sentences of this turn that have come to their end since it was last looked at. */
  follow(turn) {
    const already = this.#spoken.get(turn);
    const text = turn.parts.told.join("\n");
    if (already >= text.length) {
      if (already !== Infinity && text.length < already) this.#spoken.set(turn, 0);
      return;
    }
    const ends = [...text.matchAll(/[.!?…”’"']\s/gu)];
    const ready = turn.live ? (ends.at(-1)?.index ?? -1) + 1 : text.length;
    if (ready > already) {
      for (const sentence of text.slice(already, ready).split(/(?<=[.!?…][”’"']?)\s+/u)) {
        if (sentence.trim()) this.say(sentence.trim());
      }
      this.#spoken.set(turn, ready);
    }
    if (!turn.live && turn.parts.choices.length) this.say(`You may: ${turn.parts.choices.join(" Or: ")}`);
  }
}
