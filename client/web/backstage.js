// Backstage: what the replies took and cost, what the written answers spared, how the wait went. Figures
// come from the server; this page adds only sums.

import { make } from "./dom.js";
import { dollars, figure } from "./figures.js";

const SVG = "http://www.w3.org/2000/svg";

export class Backstage {
  /** `turns` of the story, and the `wait` of this visit. */
  show(body, turns, wait) {
    const told = turns.filter((turn) => turn.stats?.tokens);
    const answers = turns.filter((turn) => turn.answer);
    body.replaceChildren(...this.#replies(told), ...knowledge(turns.findLast((turn) => turn.stats)), ...this.#answers(answers, told), ...wait.show(), assumptions(told.at(-1)?.stats));
  }

  #replies(told) {
    if (!told.length) return [make("h3", "Replies"), make("p", "No reply was told yet since this page was opened.")];
    const last = told.at(-1).stats;
    const sum = (key) => told.reduce((all, turn) => all + turn.stats[key], 0);
    return [
      make("h3", "The last reply"),
      facts([
        ["Time to first token", `${figure(last.ttft_ms / 1000)} s`],
        ["Tokens per second", figure(last.tokens_per_s)],
        ["Tokens", `${last.tokens}, after a prompt of ${last.prompt_tokens} of which ${last.reused_tokens} were kept from before`],
        ["Time in all", `${figure(last.total_ms / 1000)} s`],
        ["Cost of this reply", dollars(last.usd)],
        ["Per million tokens", dollars(last.usd_per_million)],
        ["Energy", `${figure(last.mwh)} mWh`],
        ["CO₂e", `${figure(last.gco2e * 1000)} mg`],
      ]),
      make("h3", told.length > 1 ? `All ${told.length} replies since this page was opened` : "Plots"),
      bars("Time to first token, seconds", told.map((turn) => turn.stats.ttft_ms / 1000)),
      bars("Tokens per second", told.map((turn) => turn.stats.tokens_per_s)),
      make("p", `In all ${sum("tokens")} tokens, ${dollars(sum("usd"))}, ${figure(sum("mwh"))} mWh, ${figure(sum("gco2e") * 1000)} mg CO₂e.`),
    ];
  }

  #answers(answers) {
    const saved = (key) => answers.reduce((all, turn) => all + (turn.answer.saved?.[key] ?? 0), 0);
    return [
      make("h3", "Written answers"),
      answers.length
        ? make("p", `${answers.length} answered without the storyteller, which saved ${saved("tokens")} tokens, ${dollars(saved("usd"))} and ${figure(saved("mwh"))} mWh.`)
        : make("p", "None so far. A common question (“what can you do?”) is answered from a book, without the storyteller."),
    ];
  }
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

function assumptions(stats) {
  const grid = stats?.mwh ? `${figure((stats.gco2e / stats.mwh) * 1000)} kg CO₂e per kWh, as this deployment is set` : "as this deployment is set";
  return make("details", [
    make("summary", "What these figures assume"),
    make("p", "They are estimates of a bill and of a meter, not readings. Money: the seconds the storyteller worked on the reply, times its memory in GB, times $0.0000133334 (AWS Lambda on arm64, us-east-1). Starts and waiting are not in it."),
    make("p", `Energy: 1.693 W per busy vCPU (one per 1,769 MB of memory) and 0.392 W per GB, as Cloud Carbon Footprint estimates for AWS's Graviton, times 1.15 for the data centre. The grid: ${grid}.`),
    make("p", "Saved by a written answer: the mean cost of a reply in this deployment so far, less the cost of the search that found the answer; nothing before the first reply."),
  ]);
}
