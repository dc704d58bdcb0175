// The music box's button and volume. It plays only when asked to, and again on Begin where it was left playing.

import { byId, setText } from "../dom.js";
import { MusicBox } from "./music.js";
import { Stored } from "../storage.js";

const keptSound = new Stored("sound");
const keptVolume = new Stored("volume");

export class Sound {
  constructor() {
    this.music = new MusicBox();
    byId("sound").addEventListener("click", () => {
      this.#turn(!this.music.isPlaying);
      keptSound.write(this.music.isPlaying ? "on" : "off");
    });
    byId("volume").addEventListener("input", () => {
      this.#setVolume();
      keptVolume.write(byId("volume").value);
    });
    byId("volume").value = keptVolume.read() ?? 60;
    this.#setVolume();
  }

  /** Must be called from a click, or the browser keeps it silent. */
  resume() {
    if (keptSound.read() === "on") this.#turn(true);
  }

  #turn(isOn) {
    if (isOn) this.music.start();
    else this.music.stop();
    byId("sound").setAttribute("aria-pressed", String(this.music.isPlaying));
    setText(byId("sound"), this.music.isPlaying ? "Silence the music box" : "Play the music box");
    byId("volume-label").hidden = !this.music.isPlaying;
  }

  #setVolume() {
    this.music.volume = byId("volume").value / 100;
  }
}
