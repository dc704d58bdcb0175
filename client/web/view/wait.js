// The wait, as it really went: when the socket opened, when the first frame came, when the storyteller was ready and
// when its first words came, each the first time only.

import { figure } from "../panels/figures.js";
import { draw } from "../scenery/city.js";
import { make } from "../dom.js";

const NAMES = { door: "connected", frame: "first line", ready: "storyteller awake", token: "first words of the story" };

export class Wait {
  #began = 0;
  #marks = new Map(); // name -> seconds since it began
  #reports = []; // [seconds, share read]

  /** `now` in seconds, here and below: of the page's own clock. It is 0 where the wait began with the page. */
  constructor(now) {
    this.#began = now;
  }

  mark(name, now) {
    if (!this.#marks.has(name)) this.#marks.set(name, now - this.#began);
  }

  hear({ state, progress }, now) {
    if (this.#marks.has("ready")) return; // a later start is no wait of this visit
    if (state === "ready") this.mark("ready", now);
    else this.#reports.push([now - this.#began, progress ?? this.#reports.at(-1)?.[1] ?? 0]);
  }

  get #opened() {
    return this.#began ? "story" : "page";
  }

  /** A heading, a time line, and the same in words. */
  show() {
    const heading = make("h3", "How the wait went");
    const marks = [...this.#marks].sort((a, b) => a[1] - b[1]);
    if (!marks.length) return [heading, make("p", "Not connected yet.")];
    const read = this.#reports.at(-1);
    const wasAwake = this.#marks.has("ready") && !this.#reports.length;
    const items = marks.map(([name, at]) => make("li", [make("b", `${figure(at)} s`), ` ${name === "ready" && wasAwake ? "storyteller was awake already" : NAMES[name]}`]));
    if (!this.#marks.has("ready") && read) items.push(make("li", [make("b", `${figure(read[0])} s`), ` ${Math.floor(read[1] * 100)} % read so far`]));
    return [heading, this.#line(marks), make("ul.wait-marks", items)];
  }

  #line(marks) {
    const end = Math.max(marks.at(-1)[1], this.#reports.at(-1)?.[0] ?? 0, 0.001);
    const x = (at) => (6 + (at / end) * 288).toFixed(1);
    const path = this.#reports.map(([at, share], place) => `${place ? "L" : "M"}${x(at)} ${(34 - share * 28).toFixed(1)}`).join(" ");
    const words = marks.map(([name, at]) => `${NAMES[name]} ${figure(at)} s`).join(", ");
    const shapes = [draw("path", { d: "M6 34 H294", fill: "none", "stroke-width": 1.5 })];
    if (path) shapes.push(draw("path", { d: path, fill: "none", "stroke-width": 1, opacity: 0.6 }));
    for (const [, at] of marks) shapes.push(draw("circle", { cx: x(at), cy: 34, r: 4 }));
    const chart = draw("svg", { viewBox: "0 0 300 42", role: "img", "aria-label": `From opening the ${this.#opened}: ${words}`, class: "plot" }, ...shapes);
    return make("figure", [chart, make("figcaption", `Seconds since the ${this.#opened} was opened; the thin line is the share of the model that was read.`)]);
  }
}
