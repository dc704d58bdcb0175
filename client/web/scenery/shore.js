// Pictures for a world that is not the city: an empty shore. Drawn like the city's, of the same few shapes.

import { chance, down, draw, glow, picture, rays, shade, sky, stars } from "./city.js";

/** The sea from the horizon down, in bands that come nearer. */
function sea(top, colours) {
  const at = chance(17);
  const group = draw("g");
  colours.forEach((fill, band) => {
    const y = top + ((940 - top) * band) / colours.length;
    let path = `M-60 ${y}`;
    for (let x = -60; x < 860; x += 80) path += ` q40 ${at(-4, -14) - band * 4} 80 0`;
    group.append(draw("path", { d: `${path} V940 H-60 Z`, fill, class: band % 2 ? "glow" : "" }));
  });
  return group;
}

function dunes(fill) {
  const at = chance(29);
  const group = draw("g");
  group.append(draw("path", { d: "M-40 820 Q120 730 300 800 T620 806 T840 770 V940 H-40 Z", fill }));
  for (let blade = 0; blade < 60; blade += 1) {
    const x = at(-20, 300);
    group.append(draw("path", { d: `M${x} ${at(800, 840)} q${at(2, 10)} -40 ${at(16, 34)} -${at(40, 66)}`, fill: "none", stroke: "#16352f", "stroke-width": 2 }));
  }
  return group;
}

export const SHORE = {
  /** Before sunrise: a boat far out, and the first light. */
  dawn() {
    const boat = draw("path", { d: "M560 548 h46 l-9 12 h-28 z m21 -2 v-38 l20 32 z", fill: "#0b2030" });
    return picture(
      ...sky("#0a1626", "#27465c", "#e9b48a"), stars(6, 60), rays(400, 560, 22, 900, "#ffe2bd", 0.06),
      ...glow(400, 560, 330, "#ffd7a1", 0.6), sea(556, ["#2b5366", "#24495c", "#1d3f51", "#173546", "#112a39"]), boat, dunes("#0d1c26"),
    );
  },

  /** By day: the tide, and a sun behind thin clouds. */
  tide() {
    const at = chance(3);
    const [cloud, veil] = shade("linear", [[0, "#ffffff", 0.5], [1, "#ffffff", 0]], down);
    const clouds = draw("g", { fill: veil });
    for (let place = 0; place < 7; place += 1) clouds.append(draw("ellipse", { cx: at(0, 800), cy: at(120, 420), rx: at(90, 220), ry: at(14, 34) }));
    return picture(
      ...sky("#3c6f86", "#8fbcc4", "#f0e5cd"), ...glow(560, 330, 300, "#fff3d0", 0.8), rays(560, 330, 26, 900, "#fffaf0", 0.06), cloud, clouds,
      sea(520, ["#5c9aa6", "#4f8c9b", "#437e8e", "#386f80", "#2d6071", "#d8c7a2"]), dunes("#b49f77"),
    );
  },
};
