// The memory panel: what the storyteller knows of the visitor, to be read and changed. Knows a form and a
// profile, not the socket.

import { make } from "./dom.js";

export class Memory {
  #touched = false;
  #keys = new Set();

  /** `onKeep(changes)` is given what the visitor changed. */
  constructor(dialog, onKeep) {
    this.dialog = dialog;
    this.fields = dialog.querySelector("#memory-fields");
    this.fields.addEventListener("input", () => {
      this.#touched = true;
    });
    dialog.addEventListener("close", () => {
      const changes = {};
      for (const input of this.fields.querySelectorAll("input")) {
        if (input.value.trim() !== input.defaultValue) changes[input.name] = input.value.trim();
      }
      if (dialog.returnValue === "keep" && Object.keys(changes).length) onKeep(changes);
      dialog.returnValue = "";
      this.#touched = false;
    });
  }

  /** Draws the form anew, unless the visitor is writing in it. `keys`: entries that may be filled. */
  show(profile, keys = []) {
    for (const key of [...keys, ...Object.keys(profile)]) this.#keys.add(key);
    if (this.#touched) return;
    const fields = [...this.#keys].map((key) => {
      const input = make("input", null, { type: "text", name: key, maxlength: 200, autocomplete: "off", value: profile[key] ?? "" });
      return make("label", [make("span", key[0].toUpperCase() + key.slice(1).replaceAll("_", " ")), input]);
    });
    if (!fields.length) fields.push(make("p", "Nothing yet. The Guardian's questions fill this page."));
    this.fields.replaceChildren(...fields);
  }
}
