// How the page is read: the size of its text, its theme, and the browser's own voice. And the tint of the glass that
// the visitor chose in the prologue.

import { byId } from "../dom.js";
import { Stored } from "../storage.js";

const SIZES = ["100%", "112.5%", "125%", "150%"];

/** The browser's own voice. */
class Voice {
  isOn = false;

  get exists() {
    return "speechSynthesis" in window;
  }

  say(text) {
    if (!this.isOn || !this.exists) return;
    const spoken = new SpeechSynthesisUtterance(text);
    spoken.lang = document.documentElement.lang;
    speechSynthesis.speak(spoken);
  }

  stop() {
    if (this.exists) speechSynthesis.cancel();
  }
}

export class Reading {
  constructor() {
    this.voice = new Voice();
    const size = byId("text-size");
    const keptSize = new Stored("text-size");
    size.max = SIZES.length - 1;
    size.value = keptSize.read() ?? 0;
    const setSize = () => {
      document.documentElement.style.fontSize = SIZES[size.value];
      size.setAttribute("aria-valuetext", SIZES[size.value]);
    };
    size.addEventListener("input", () => {
      setSize();
      keptSize.write(size.value);
    });
    setSize();

    const keptTheme = new Stored("theme");
    for (const button of document.querySelectorAll("[name=theme]")) {
      button.checked = button.value === (keptTheme.read() ?? "device");
      button.addEventListener("change", () => {
        keptTheme.write(button.value);
        document.documentElement.dataset.theme = button.value;
      });
    }
    document.documentElement.dataset.theme = keptTheme.read() ?? "device";

    // Not kept: a voice that begins by itself would startle.
    byId("aloud-label").hidden = !this.voice.exists;
    byId("aloud").checked = false;
    byId("aloud").addEventListener("change", () => {
      this.voice.isOn = byId("aloud").checked;
      if (!this.voice.isOn) this.voice.stop();
    });
    addEventListener("pagehide", () => this.voice.stop());
  }
}

/** Colours for the names that the Emerald City's spectacles come in; any other name CSS knows is its own colour. */
const GLASS = { green: "#17a672", gold: "#d9a520", blue: "#3479d8", violet: "#8a52d0" };

/** Tints the page and its picture like a pair of spectacles, gently; null or no colour: not at all. */
export function tint(name) {
  const word = (name ?? "").trim().toLowerCase();
  const colour = GLASS[word] ?? (/^[a-z]+$/.test(word) && CSS.supports("color", word) ? word : null);
  document.body.dataset.tinted = String(colour !== null);
  if (colour) document.body.style.setProperty("--glass", colour);
  else document.body.style.removeProperty("--glass");
}
