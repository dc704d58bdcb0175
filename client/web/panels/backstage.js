// Backstage: what the replies took and cost, what the written answers spared, how the wait went. Figures
// come from the server; this page adds only sums.

import { make } from "../dom.js";
import { dollars, figure, within } from "./figures.js";

const SVG = "http://www.w3.org/2000/svg";

export class Backstage {
  /** `turns` of the story, the `wait` of this visit, what the `visit` used so far, and whether this is no Lambda. */
  show(body, turns, wait, { visit = null, simulated = false } = {}) {
    const told = turns.filter((turn) => turn.stats?.tokens);
    const answers = turns.filter((turn) => turn.answer);
    body.replaceChildren(...place(simulated), ...this.#replies(told), ...whole(visit), ...knowledge(turns.findLast((turn) => turn.stats)), ...this.#answers(answers, told), ...wait.show(), assumptions());
  }

  #replies(told) {
    if (!told.length) return [make("h3", "Replies"), make("p", "No reply was told yet since this page was opened.")];
    const last = told.at(-1).stats;
    const sum = (key) => told.reduce((all, turn) => all + (turn.stats[key] ?? turn.stats.used[key]), 0);
    return [
      make("h3", "The last reply"),
      facts([
        ["Time to first token", `${figure(last.ttft_ms / 1000)} s`],
        ["Tokens per second", figure(last.tokens_per_s)],
        ["Tokens", `${last.tokens}, after a prompt of ${last.prompt_tokens} of which ${last.reused_tokens} were kept from before`],
        ["Time in all", `${figure(last.total_ms / 1000)} s`],
        ["Cost of this reply", dollars(last.used.usd)],
        ["Per million tokens", dollars(last.usd_per_million)],
        ...footprint(last.used),
      ]),
      make("h3", told.length > 1 ? `All ${told.length} replies since this page was opened` : "Plots"),
      bars("Time to first token, seconds", told.map((turn) => turn.stats.ttft_ms / 1000)),
      bars("Tokens per second", told.map((turn) => turn.stats.tokens_per_s)),
      make("p", `In all ${sum("tokens")} tokens, ${dollars(sum("usd"))}, ${figure(sum("mwh"))} mWh, ${figure(sum("gco2e") * 1000)} mg CO₂e.`),
    ];
  }

  #answers(answers) {
    const last = answers.at(-1)?.answer.saved;
    const saved = (key) => answers.reduce((all, turn) => all + (turn.answer.saved?.[key] ?? 0), 0);
    return [
      make("h3", "Written answers"),
      answers.length
        ? make("p", `${answers.length} answered without the storyteller, which saved ${saved("tokens")} tokens, ${dollars(saved("usd"))}, ${figure(saved("mwh"))} mWh and ${figure(saved("gco2e") * 1000)} mg CO₂e.`)
        : make("p", "None so far. A common question (“what can you do?”) has a written answer, given without the storyteller."),
      ...(last ? [make("p", `Of all lines ever said here ${figure(last.share * 100)} % needed no model; ${last.wakes_spared} ${last.wakes_spared === 1 ? "answer" : "answers"} came while the storyteller slept on.`)] : []),
    ];
  }
}

/** Where the figures are of another machine than this one. */
function place(simulated) {
  return simulated ? [make("p", "This runs on one machine, not on AWS: money, energy and carbon are given as if on Lambda for the seconds it took here.")] : [];
}

function footprint({ mwh, mwh_bounds, gco2e, gco2e_bounds }) {
  return [
    ["Energy", within(mwh, mwh_bounds, "mWh")],
    ["CO₂e", within(gco2e, gco2e_bounds, "mg", 1000)],
  ];
}

/** The visit as a whole, with what a reply's figures leave out. */
function whole(visit) {
  if (!visit) return [];
  return [
    make("h3", "This visit in all"),
    facts([["Cost", dollars(visit.usd)], ...footprint(visit)]),
    make("p", "With the storyteller's start, where this visit caused it, and its lingering."),
  ];
}

/** What the world knows about the last line: the storyteller read it before the line. */
function knowledge(turn) {
  if (!turn) return [];
  const told = turn.notes.length
    ? make("ul", turn.notes.map((note) => make("li", note)))
    : make("p", "No fact of this world belongs to the last line.");
  return [make("h3", "Facts the storyteller was given"), told];
}

function facts(pairs) {
  return make("dl", pairs.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function plot(title, ...shapes) {
  const chart = svg("svg", { viewBox: "0 0 300 70", role: "img", "aria-label": title, class: "plot" }, ...shapes);
  return make("figure", [chart, make("figcaption", title)]);
}

function bars(title, values) {
  const shown = values.slice(-30);
  const most = Math.max(...shown, 1e-9);
  const wide = Math.min(22, 300 / shown.length);
  const shapes = shown.map((value, at) => svg("rect", { x: at * wide + 1, y: 66 - (value / most) * 60, width: wide - 2, height: Math.max(1, (value / most) * 60), rx: 2 }));
  return plot(`${title}: ${shown.map(figure).join(", ")}`, ...shapes);
}

function assumptions() {
  return make("details", [
    make("summary", "What these figures assume"),
    make("p", "They are estimates of a bill and of a meter, not readings; the bounds hold the published constants. Money: the seconds the storyteller worked on the reply, times its memory in GB, times $0.0000133334 (AWS Lambda on arm64, us-east-1)."),
    make("p", "Energy: 1.7 W (1.1 to 2.3) a busy vCPU, one per 1,769 MB of memory, times 1.14 for the data centre. Carbon: the grid of this region over its life cycle, and the share of making the server (ISO/IEC 21031). docs/energy.md argues each constant."),
    make("p", "Saved by a written answer: the mean reply of this deployment so far, and a mean start where none was needed, less the search that found the answer; nothing before the first reply."),
  ]);
}
