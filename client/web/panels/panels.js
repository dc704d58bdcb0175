// The panels and their keys. In a wide window Backstage lies beside the play and leaves it usable.

import { byId } from "../dom.js";

/** Where there is room for Backstage beside the play, as layout.css has it. */
const WIDE = "(min-width: 62rem) and (min-height: 30rem)";

export class Panels {
  #opener = null;

  /** `before[name]()` is called before a panel opens; `mayOpen()` tells whether any may. */
  constructor({ before, mayOpen }) {
    Object.assign(this, { before, mayOpen });
    for (const button of document.querySelectorAll("[data-opens]")) {
      button.addEventListener("click", () => this.open(button.dataset.opens));
    }
    addEventListener("keydown", (event) => {
      if (event.key !== "F2") return;
      event.preventDefault();
      if (byId("backstage").open) byId("backstage").close();
      else if (!this.isModal) this.open("backstage");
    });
    byId("backstage").addEventListener("close", () => {
      document.body.dataset.backstage = "closed";
      this.#opener?.focus({ preventScroll: true });
    });
  }

  /** Whether a panel lies before the play. */
  get isModal() {
    return document.querySelector("dialog:modal") !== null;
  }

  open(name) {
    const panel = byId(name);
    if (panel.open || !this.mayOpen()) return;
    this.before[name]?.();
    if (name === "backstage") {
      document.body.dataset.backstage = "open";
      this.#opener = document.activeElement;
    }
    if (name === "backstage" && matchMedia(WIDE).matches) panel.show();
    else panel.showModal();
    panel.scrollTop = 0; // the focus goes to its first button, which may be far down
  }

  /** Escape: closes Backstage, and tells whether there was anything to close. */
  closeBackstage() {
    if (!byId("backstage").open) return false;
    byId("backstage").close();
    return true;
  }
}
