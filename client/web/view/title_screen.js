// The title screen: the name of the play and one button. Behind it the socket opens and the storyteller begins to
// wake; what is told waits for the click, for nobody listens before it.

import { byId, setText } from "../dom.js";

export class TitleScreen {
  #waiting = null;

  /** `onOpen()` is called within the click, which sound needs. */
  constructor(onOpen) {
    byId("enter").hidden = byId("enter").disabled = false; // from now on a click is heard
    byId("enter").addEventListener("click", () => {
      this.open();
      onOpen();
    });
  }

  get isOpen() {
    return document.body.dataset.title === "gone";
  }

  /** Shows the title, and puts the keyboard on its button. */
  close() {
    document.body.dataset.title = "shown";
    byId("play").inert = true;
    byId("enter").focus({ preventScroll: true });
  }

  open() {
    document.body.dataset.title = "gone";
    byId("play").inert = false;
    byId("enter").blur();
    this.#waiting?.();
    this.#waiting = null;
  }

  /** Does this at once, or when the title is gone; of several things only the last. */
  whenOpen(act) {
    if (this.isOpen) act();
    else this.#waiting = act;
  }

  /** What the play is called. Until the server says so, what it was called at the last visit. */
  name(title) {
    setText(byId("title"), title);
    byId("eyebrow").style.visibility = title === "Overture" ? "hidden" : "visible";
    document.title = title === "Overture" ? title : `${title} · Overture`;
  }

  say(words) {
    setText(byId("title-words"), this.isOpen ? "" : words);
  }
}
