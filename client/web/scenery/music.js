// A music box, composed for this play and played by WebAudio: no file is fetched. It follows the play
// (prologue, nearly ready, story) from one bar to the next. It sounds only after a click: on Begin, unless
// the visitor silenced it on an earlier visit, or on its own button.

const BEAT_S = { prologue: 0.62, nearly: 0.54, story: 0.86 };
const AHEAD_S = 0.5;

// In three-four time, by bars. A number is a step of D major (0 is D5, -1 C sharp below it); "." rests.
const TUNE = [
  "4 . 2", "0 . 2", "4 5 4", "2 . .", "1 . 3", "5 . 3", "4 2 1", "2 . .",
  "4 . 2", "0 . 2", "4 5 7", "6 . .", "5 . 3", "1 2 3", "2 . 1", "0 . .",
  "7 . 6", "7 . 4", "5 6 5", "4 . .", "3 . 5", "4 . 2", "1 2 3", "4 . .",
  "7 . 6", "7 . 9", "8 7 6", "5 . .", "3 4 5", "4 . 0", "2 . 1", "0 . .",
].map((bar) => bar.split(" "));
const CHORDS = [0, 0, 5, 5, 1, 1, 4, 4, 0, 0, 3, 4, 1, 4, 4, 0, 5, 5, 3, 0, 3, 0, 4, 4, 5, 5, 3, 3, 1, 0, 4, 0];
const STEPS = [0, 2, 4, 5, 7, 9, 11];

export class MusicBox {
  #context = null;
  #out = null;
  #timer = null;
  #bar = 0;
  #nextAt = 0;
  #mood = "prologue";
  #volume = 0.6;

  get isPlaying() {
    return this.#timer !== null;
  }

  /** prologue, nearly or story: from the next bar on. */
  set mood(mood) {
    this.#mood = mood;
  }

  /** 0 to 1. */
  set volume(volume) {
    this.#volume = volume;
    this.#out?.gain.setTargetAtTime(volume ** 2 * 0.5, this.#context.currentTime, 0.05);
  }

  /** Must be called from a click, or the browser keeps it silent. */
  start() {
    if (!this.#context) this.#build();
    this.#context.resume();
    this.volume = this.#volume;
    this.#nextAt = this.#context.currentTime + 0.1;
    this.#timer ??= setInterval(() => this.#plan(), 120);
    this.#plan();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#out?.gain.setTargetAtTime(0, this.#context.currentTime, 0.15);
    setTimeout(() => this.isPlaying || this.#context?.suspend(), 800);
  }

  #build() {
    const context = (this.#context = new AudioContext());
    this.#out = context.createGain();
    this.#out.gain.value = 0;
    // A small wooden room: noise that dies away.
    const room = context.createConvolver();
    const length = Math.floor(context.sampleRate * 1.8);
    const echo = context.createBuffer(2, length, context.sampleRate);
    for (const channel of [0, 1]) {
      const samples = echo.getChannelData(channel);
      for (let at = 0; at < length; at += 1) samples[at] = (Math.random() * 2 - 1) * (1 - at / length) ** 3.2;
    }
    room.buffer = echo;
    const wet = context.createGain();
    wet.gain.value = 0.16;
    this.#out.connect(context.destination);
    this.#out.connect(room).connect(wet).connect(context.destination);
  }

  /** Plans whole bars a little ahead of their time; a page in the background plans less often. */
  #plan() {
    const now = this.#context.currentTime;
    if (this.#nextAt < now) this.#nextAt = now + 0.05;
    while (this.#nextAt < now + AHEAD_S + (document.hidden ? 2 : 0)) {
      this.#nextAt += this.#playBar(this.#bar % TUNE.length, this.#nextAt);
      this.#bar += 1;
    }
  }

  #playBar(bar, at) {
    const mood = this.#mood;
    const beat = BEAT_S[mood];
    const root = CHORDS[bar] - 7;
    const loud = mood === "story" ? 0.5 : 1;
    // In the story the tune only visits: two lines of four bars, then eight of broken chords alone.
    const sings = mood !== "story" || bar % 16 < 8;
    if (sings) TUNE[bar].forEach((step, place) => step !== "." && this.#pluck(Number(step), at + place * beat, 0.5 * loud));
    this.#pluck(root - 7, at, 0.34 * loud);
    const figure = mood === "nearly" ? [0, 2, 4, 7, 4, 2] : [2, 4];
    figure.forEach((step, place) => {
      const late = mood === "nearly" ? place / 2 : place + 1;
      this.#pluck(root + step, at + late * beat, 0.17 * loud);
    });
    return 3 * beat;
  }

  /** One tine of the comb: a struck tone with a short metallic overtone. */
  #pluck(step, at, loudness) {
    const octave = Math.floor(step / 7);
    const tone = 587.33 * 2 ** (octave + STEPS[step - octave * 7] / 12);
    const start = at + Math.random() * 0.012; // no comb is cut exactly
    for (const [partial, share, seconds] of [[1, 1, 1.9], [2.01, 0.22, 0.9], [5.4, 0.09, 0.14]]) {
      const source = this.#context.createOscillator();
      const envelope = this.#context.createGain();
      source.frequency.value = tone * partial;
      envelope.gain.setValueAtTime(0, start);
      envelope.gain.linearRampToValueAtTime(loudness * share * 0.5, start + 0.004);
      envelope.gain.exponentialRampToValueAtTime(0.0001, start + seconds);
      source.connect(envelope).connect(this.#out);
      source.start(start);
      source.stop(start + seconds + 0.05);
    }
  }
}
