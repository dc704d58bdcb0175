// The doors: a title with one button. Behind them the socket opens and the storyteller begins to wake; what is
// told waits for the click, for nobody listens before it. The click starts the sound, too, unless that was left
// off: sound needs one. Knows the page's body only.

import { byId, setText } from "./dom.js";

export class Doors {
  #waiting = null;
  #onOpen;

  /** `onOpen()` is called within the click. */
  constructor(onOpen) {
    this.#onOpen = onOpen;
    byId("enter").disabled = false; // from now on a click is heard
    byId("enter").addEventListener("click", () => {
      this.open();
      this.#onOpen();
    });
  }

  get isOpen() {
    return document.body.dataset.doors === "open";
  }

  /** Shows the title, and puts the keyboard on its button. */
  close() {
    document.body.dataset.doors = "closed";
    byId("house").inert = true;
    byId("enter").focus({ preventScroll: true });
  }

  open() {
    document.body.dataset.doors = "open";
    byId("house").inert = false;
    byId("enter").blur();
    this.#waiting?.();
    this.#waiting = null;
  }

  /** Does this at once, or when the doors open; of several things only the last. */
  whenOpen(act) {
    if (this.isOpen) act();
    else this.#waiting = act;
  }

  /** What the house is called. Until the server says so, what it was called at the last visit. */
  name(title) {
    setText(byId("title"), title);
    byId("eyebrow").style.visibility = title === "Overture" ? "hidden" : "visible";
    document.title = title === "Overture" ? title : `${title} · Overture`;
  }

  say(words) {
    setText(byId("doors-words"), this.isOpen ? "" : words);
  }
}
