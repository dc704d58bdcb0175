// Pictures of the city, drawn by code: a magic slideshow that turns slowly from one to the next. Each is an
// SVG made on the spot, alike at every visit.

import { SHORE } from "./shore.js";

const SVG = "http://www.w3.org/2000/svg";
const TURN_MS = 16_000;
const CITY = { prologue: ["road", "gate"], story: ["street", "palace", "emerald"] };
/** What is shown of any other world: a shore before sunrise, and by day. */
const ELSEWHERE = { prologue: ["dawn"], story: ["tide", "dawn"] };

export class Slideshow {
  #acts = CITY;
  #act = null;
  #place = 0;
  #timer = null;
  #slides = new Map();

  constructor(root) {
    this.root = root;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
  }

  /** Which world is played: its pictures are shown from now on. */
  set world(name) {
    const acts = name === "emerald_city" ? CITY : ELSEWHERE;
    if (acts === this.#acts) return;
    this.#acts = acts;
    if (this.#act !== null) this.#show();
  }

  /** Shows the pictures of this act, from its first. */
  turnTo(act) {
    if (act === this.#act) return;
    this.#act = act;
    this.#place = 0;
    this.root.classList.add("cut"); // at once: the curtain is down
    this.#show();
    requestAnimationFrame(() => this.root.classList.remove("cut"));
    clearInterval(this.#timer);
    this.#timer = setInterval(() => {
      if (this.still.matches || document.hidden) return;
      this.#place += 1;
      this.#show();
    }, TURN_MS);
  }

  #show() {
    const names = this.#acts[this.#act];
    const name = names[this.#place % names.length];
    if (!this.#slides.has(name)) {
      const slide = (PICTURES[name] ?? SHORE[name])();
      slide.classList.add("slide");
      this.root.append(slide);
      this.#slides.set(name, slide);
      slide.getBoundingClientRect(); // so that it fades in from nothing
    }
    for (const [other, slide] of this.#slides) slide.classList.toggle("shown", other === name);
  }
}

// --- drawing --------------------------------------------------------------------------

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

let gradients = 0;

/** A gradient and the way to refer to it. `stops`: [offset, colour, opacity]. */
export function shade(kind, stops, attributes = {}) {
  gradients += 1;
  const id = `shade-${gradients}`;
  const parts = stops.map(([offset, colour, opacity = 1]) => draw("stop", { offset, "stop-color": colour, "stop-opacity": opacity }));
  return [draw(`${kind}Gradient`, { id, ...attributes }, ...parts), `url(#${id})`];
}

export const down = { x1: 0, y1: 0, x2: 0, y2: 1 };

/** A small generator of chance that gives the same each time. */
export function chance(seed) {
  let state = seed;
  return (least = 0, most = 1) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return least + (most - least) * (((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296);
  };
}

export function picture(...children) {
  return draw("svg", { viewBox: "0 0 800 900", preserveAspectRatio: "xMidYMid slice", focusable: "false" }, ...children);
}

export function sky(top, middle, low) {
  const [gradient, fill] = shade("linear", [[0, top], [0.55, middle], [1, low]], down);
  return [gradient, draw("rect", { x: -40, y: -40, width: 880, height: 980, fill })];
}

export function stars(seed, many) {
  const at = chance(seed);
  const group = draw("g", { class: "turning slow", fill: "#e9fff4" });
  for (let star = 0; star < many; star += 1) {
    const twinkles = star % 5 === 0 ? { class: "twinkle" } : {};
    group.append(draw("circle", { cx: at(-150, 950), cy: at(-150, 650), r: at(0.5, 1.8), opacity: at(0.25, 0.9), ...twinkles }));
  }
  return group;
}

/** Rays that turn about a point, as light does in the old pictures. */
export function rays(x, y, many, length, colour, opacity) {
  const group = draw("g", { class: "turning", fill: colour, opacity });
  group.style.transformOrigin = `${x}px ${y}px`;
  for (let ray = 0; ray < many; ray += 1) {
    const angle = (ray / many) * Math.PI * 2;
    const wide = (Math.PI / many) * 0.5;
    const point = (turn, far) => `${(x + Math.cos(turn) * far).toFixed(1)},${(y + Math.sin(turn) * far).toFixed(1)}`;
    group.append(draw("polygon", { points: `${x},${y} ${point(angle - wide, length)} ${point(angle + wide, length)}` }));
  }
  return group;
}

export function glow(x, y, radius, colour, opacity = 0.8) {
  const [gradient, fill] = shade("radial", [[0, colour, opacity], [1, colour, 0]]);
  return [gradient, draw("circle", { cx: x, cy: y, r: radius, fill, class: "glow" })];
}

/** An emerald: a cut stone of six facets about (x, y). */
function gem(x, y, size, tones = ["#b9f6da", "#58d8a4", "#21a877", "#0d7a55", "#37c08d", "#86ebc2"]) {
  const outer = Array.from({ length: 6 }, (_, at) => [x + Math.sin((at * Math.PI) / 3) * size, y - Math.cos((at * Math.PI) / 3) * size]);
  const inner = Array.from({ length: 6 }, (_, at) => [x + Math.sin((at * Math.PI) / 3) * size * 0.52, y - Math.cos((at * Math.PI) / 3) * size * 0.52]);
  const corners = (...points) => points.map((point) => point.map((part) => part.toFixed(1)).join(",")).join(" ");
  const facets = outer.map((corner, at) => {
    const next = (at + 1) % 6;
    return draw("polygon", { points: corners(corner, outer[next], inner[next], inner[at]), fill: tones[at] });
  });
  return draw("g", {}, ...facets, draw("polygon", { points: corners(...inner), fill: tones[1] }));
}

/** A tower with its roof and lit windows. `roof`: cone, dome or onion. */
function tower(at, x, foot, wide, high, roof, colour, light) {
  const top = foot - high;
  const half = wide / 2;
  const caps = {
    cone: `M${x - half - 5} ${top} L${x} ${top - wide * 1.7} L${x + half + 5} ${top} Z`,
    dome: `M${x - half} ${top} A${half} ${half * 1.15} 0 0 1 ${x + half} ${top} Z`,
    onion: `M${x - half * 0.9} ${top} C${x - half * 1.6} ${top - wide * 0.7} ${x - 3} ${top - wide * 0.8} ${x} ${top - wide * 1.6} C${x + 3} ${top - wide * 0.8} ${x + half * 1.6} ${top - wide * 0.7} ${x + half * 0.9} ${top} Z`,
  };
  const group = draw("g", { fill: colour }, draw("rect", { x: x - half, y: top, width: wide, height: high + 200 }), draw("path", { d: caps[roof] }));
  const columns = Math.max(1, Math.floor(wide / 16));
  for (let row = 0; row < high / 26 - 1; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      if (at() < 0.5) continue;
      const twinkles = at() < 0.12 ? { class: "twinkle" } : {};
      group.append(
        draw("rect", { x: x - half + (wide / columns) * (column + 0.5) - 2.5, y: top + 16 + row * 26, width: 5, height: 9, rx: 2.5, fill: light, opacity: at(0.35, 0.95), ...twinkles }),
      );
    }
  }
  return group;
}

/** A row of towers, tallest in the middle. */
function skyline(seed, foot, tallest, colour, light, many) {
  const at = chance(seed);
  const group = draw("g");
  for (let place = 0; place < many; place += 1) {
    const x = (place + at(0.2, 0.8)) * (800 / many);
    const nearness = 1 - Math.abs(x - 400) / 460;
    const high = tallest * (0.35 + 0.65 * nearness * nearness) * at(0.75, 1.05);
    group.append(tower(at, x, foot, at(26, 58), high, ["cone", "dome", "onion"][Math.floor(at(0, 3))], colour, light));
  }
  return group;
}

const PICTURES = {
  /** The road of yellow brick, and the green glow at its end. */
  road() {
    const at = chance(11);
    const bricks = draw("g", { class: "bricks" });
    for (let row = 0; row < 22; row += 1) {
      const near = (row / 22) ** 2;
      const next = ((row + 1) / 22) ** 2;
      const y = 590 + near * 330;
      const half = 16 + near * 330;
      const many = 5 + (row % 2);
      for (let brick = 0; brick < many; brick += 1) {
        const x = 400 - half + (brick / many) * half * 2;
        bricks.append(
          draw("rect", { x: x + 1, y: y + 0.6, width: Math.max(1, (half * 2) / many - 2), height: Math.max(1, (next - near) * 330 - 1.4), rx: 1.5, fill: ["#c79d3b", "#b98c2f", "#d3ad52", "#a87d28"][Math.floor(at(0, 4))], opacity: 0.55 + near * 0.4 }),
        );
      }
    }
    const [ground, fill] = shade("linear", [[0, "#0b4a36"], [1, "#052117"]], down);
    return picture(
      ...sky("#03100d", "#0a3a30", "#1f8b66"), stars(3, 90), ...glow(400, 585, 420, "#54e6b0", 0.65),
      rays(400, 590, 26, 900, "#9dffd6", 0.055),
      skyline(21, 600, 190, "#0c5b43", "#ccffe4", 15), skyline(5, 606, 130, "#083d2e", "#ffe9a8", 11),
      ground, draw("path", { d: "M-40 600 Q400 575 840 600 V940 H-40 Z", fill }), bricks,
      ...[90, 190, 640, 730].map((x, place) => draw("path", { d: `M${x} ${690 + (place % 2) * 40} c-34 -10 -34 -66 0 -84 c34 18 34 74 0 84 z m-2 0 h4 v34 h-4 z`, fill: "#05281d" })),
    );
  },

  /** The gate, studded with emeralds, and the bell beside it. */
  gate() {
    const at = chance(8);
    const [wall, stone] = shade("linear", [[0, "#137052"], [1, "#063323"]], down);
    const [leaf, leaves] = shade("linear", [[0, "#0b5d43"], [1, "#04261a"]], down);
    const studs = draw("g");
    for (let row = 0; row < 6; row += 1) {
      for (const x of [270, 325, 370, 430, 475, 530]) {
        const y = 430 + row * 66;
        if (row === 0 && (x < 300 || x > 500)) continue;
        studs.append(gem(x, y, 12));
        if (at() < 0.35) studs.append(draw("circle", { cx: x, cy: y, r: 15, fill: "#baffdf", opacity: 0.5, class: "twinkle" }));
      }
    }
    const courses = draw("g", { stroke: "#04281c", "stroke-width": 2, opacity: 0.55 });
    for (let y = 300; y < 900; y += 44) courses.append(draw("path", { d: `M-40 ${y} H840`, fill: "none" }));
    return picture(
      ...sky("#041712", "#0e5a45", "#49c796"), stars(9, 50), rays(400, 380, 30, 900, "#c9ffe7", 0.06),
      skyline(31, 420, 260, "#0d6249", "#eafff4", 13),
      wall, draw("path", { d: "M-40 300 h60 v-26 h60 v26 h60 v-26 h60 v26 h60 v-26 h60 v26 h60 v-26 h60 v26 h60 v-26 h60 v26 h60 v-26 h60 v26 h60 v-26 h60 v26 h100 V940 H-40 Z", fill: stone }), courses,
      ...glow(400, 560, 320, "#63f0bb", 0.5),
      draw("path", { d: "M226 940 V500 A174 174 0 0 1 574 500 V940 Z", fill: "#021710" }),
      leaf, draw("path", { d: "M240 940 V500 A160 160 0 0 1 560 500 V940 Z", fill: leaves }),
      draw("path", { d: "M400 342 V940", stroke: "#9dffd6", "stroke-width": 5, opacity: 0.8, class: "glow" }), studs,
      draw("path", { d: "M226 940 V500 A174 174 0 0 1 574 500 V940", fill: "none", stroke: "#d8b65c", "stroke-width": 7 }),
      draw("g", { class: "bell" }, draw("path", { d: "M660 430 v24 m-26 62 c6 -12 4 -56 26 -62 c22 6 20 50 26 62 z", fill: "#dfe9e6", stroke: "#dfe9e6", "stroke-width": 4 }), draw("circle", { cx: 660, cy: 524, r: 7, fill: "#aebfba" })),
    );
  },

  /** A street of green marble, with houses on either side and the palace at its end. */
  street() {
    const at = chance(44);
    const houses = draw("g");
    for (const side of [-1, 1]) {
      for (let place = 6; place >= 0; place -= 1) {
        const far = 0.8 ** (6 - place);
        const near = 0.8 ** (5 - place);
        const line = (depth) => 400 + side * (60 + 380 * depth);
        const roof = (depth) => 560 - (120 + 430 * depth) * at(0.85, 1);
        const [a, b] = [line(far), line(near)];
        const [high, higher] = [roof(far), roof(near)];
        const foot = (depth) => 560 + 300 * depth;
        houses.append(draw("polygon", { points: `${a},${foot(far)} ${a},${high} ${b},${higher} ${b},${foot(near)}`, fill: ["#0a4c38", "#0d5a42", "#0b6549"][place % 3] }));
        houses.append(draw("path", { d: `M${a} ${high} L${(a + b) / 2} ${Math.min(high, higher) - 46 * near} L${b} ${higher}`, fill: "#063626" }));
        for (let row = 0; row < 4; row += 1) {
          const middle = (a + b) / 2;
          const y = higher + (foot(near) - higher) * (0.2 + row * 0.17);
          houses.append(draw("rect", { x: middle - 7 * near, y, width: 13 * near, height: 26 * near, rx: 6 * near, fill: at() < 0.5 ? "#ffe9a8" : "#b8ffdf", opacity: at(0.4, 0.9), ...(at() < 0.3 ? { class: "twinkle" } : {}) }));
        }
      }
    }
    const seams = draw("g", { stroke: "#9dffd6", opacity: 0.28 });
    for (let seam = -6; seam <= 6; seam += 1) seams.append(draw("path", { d: `M400 560 L${400 + seam * 130} 940`, "stroke-width": 1.5 }));
    for (let row = 1; row < 11; row += 1) seams.append(draw("path", { d: `M-40 ${560 + row ** 1.85 * 4.6} H840`, "stroke-width": 1.5 }));
    const sparks = draw("g");
    for (let spark = 0; spark < 26; spark += 1) {
      const depth = at(0.04, 1) ** 1.5;
      sparks.append(draw("circle", { cx: 400 + at(-1, 1) * 420 * depth, cy: 566 + 340 * depth, r: 1 + 3.5 * depth, fill: "#c9ffe7", class: "twinkle" }));
    }
    const [ground, fill] = shade("linear", [[0, "#1b8f69"], [1, "#063a29"]], down);
    return picture(
      ...sky("#07281f", "#1a7f60", "#8deac3"), rays(400, 470, 28, 900, "#f3fff9", 0.09), ...glow(400, 490, 280, "#e9fff4", 0.55),
      skyline(77, 564, 250, "#127a59", "#f3fff9", 9),
      ground, draw("rect", { x: -40, y: 560, width: 880, height: 400, fill }), seams, sparks, houses,
    );
  },

  /** The palace, its fountain and its gardens. */
  palace() {
    const at = chance(5);
    const [water, jet] = shade("linear", [[0, "#f3fff9", 0.9], [1, "#8deac3", 0.1]], down);
    const arcs = draw("g", { fill: "none", stroke: jet, "stroke-width": 3, class: "glow" });
    for (const reach of [-120, -85, -50, -20, 20, 50, 85, 120]) arcs.append(draw("path", { d: `M400 690 Q${400 + reach * 0.5} ${530 - Math.abs(reach) * 0.4} ${400 + reach} 716` }));
    const flowers = draw("g");
    for (let flower = 0; flower < 70; flower += 1) flowers.append(draw("circle", { cx: at(-20, 820), cy: at(752, 890), r: at(2, 6), fill: ["#f0d68c", "#c9ffe7", "#f3b7c8", "#58d8a4"][Math.floor(at(0, 4))], opacity: at(0.5, 1) }));
    const body = [[120, 60, 190], [210, 80, 250], [310, 70, 320], [400, 110, 390], [490, 70, 320], [590, 80, 250], [680, 60, 190]].map(([x, wide, high], place) => tower(at, x, 690, wide, high, place === 3 ? "onion" : place % 2 ? "dome" : "cone", place % 2 ? "#0d6b4d" : "#0a563e", "#ffe9a8"));
    return picture(
      ...sky("#0a2f2a", "#2b8f74", "#ffe6a6"), rays(400, 380, 34, 950, "#fff6d8", 0.12), ...glow(400, 360, 330, "#ffeeb8", 0.5), ...body,
      draw("path", { d: "M-40 690 Q400 660 840 690 V940 H-40 Z", fill: "#07452f" }), flowers,
      draw("ellipse", { cx: 400, cy: 722, rx: 160, ry: 28, fill: "#0d6b4d", stroke: "#c9ffe7", "stroke-width": 3 }), water, arcs, gem(400, 672, 26),
    );
  },

  /** One great stone, turning. */
  emerald() {
    const stone = draw("g", { class: "turning" }, gem(400, 450, 190), draw("circle", { cx: 400, cy: 450, r: 205, fill: "none", stroke: "#9dffd6", "stroke-width": 2, "stroke-dasharray": "3 16" }));
    stone.style.transformOrigin = "400px 450px";
    return picture(...sky("#020d0a", "#06382a", "#0c6b4c"), stars(13, 120), rays(400, 450, 36, 950, "#7dffc9", 0.09), ...glow(400, 450, 400, "#63f0bb", 0.55), stone);
  },
};
