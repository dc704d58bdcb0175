// The memory panel: what the storyteller knows of the visitor, to be read and changed.

import { make } from "../dom.js";

export class Memory {
  #touched = false;
  #labels = new Map(); // key -> [label, what stands in for it]

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

  /** Draws the form again, unless the visitor is writing in it. `fields`: what the world remembers, with labels. */
  show(profile, fields) {
    for (const { key, label, default: standsIn } of fields) this.#labels.set(key, [label, standsIn]);
    for (const key of Object.keys(profile)) if (!this.#labels.has(key)) this.#labels.set(key, [key, ""]);
    if (this.#touched) return;
    const rows = [...this.#labels].map(([key, [label, standsIn]]) => {
      const input = make("input", null, { type: "text", name: key, maxlength: 200, autocomplete: "off", value: profile[key] ?? "", placeholder: standsIn });
      return make("label", [make("span", label), input]);
    });
    if (!rows.length) rows.push(make("p", "Nothing yet. The questions of the prologue fill this page."));
    this.fields.replaceChildren(...rows);
  }
}
