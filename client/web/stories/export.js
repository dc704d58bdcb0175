// A story to keep or to read: as Markdown, as a page that needs nothing but itself, and as elements. Nothing said in
// it is taken for markup.

import { make } from "../dom.js";
import { partsOf } from "../session/story.js";

/** `{title, prologue, turns}` as blocks `[kind, text]` in the order they were shown. */
function blocks({ prologue, turns }) {
  const found = [];
  const inPrologue = new Set();
  let speaker = null;
  for (const entry of prologue) {
    const turn = entry.turn ? turns.find(({ id }) => id === entry.turn) : null;
    if (turn) {
      inPrologue.add(turn);
      found.push(...turnBlocks(turn));
    } else if (entry.asked) found.push(["asked", entry.asked]);
    else if (entry.said) found.push(["said", entry.said]);
    else if (entry.text) {
      if (entry.speaker && entry.speaker !== speaker) found.push(["speaker", entry.speaker]);
      speaker = entry.speaker ?? null;
      found.push(["line", entry.text]);
    }
  }
  return [...found, ...turns.filter((turn) => !inPrologue.has(turn)).flatMap(turnBlocks)];
}

function turnBlocks({ said, reply, state }) {
  const { told, choices } = partsOf(reply, state);
  const kind = state === "answered" ? "aside" : "told";
  return [...(said ? [["said", said]] : []), ...told.map((text) => [kind, text]), ...choices.map((text) => ["choice", text])];
}

const MARKDOWN = {
  said: (text) => text.split("\n").map((line) => `> ${plain(line)}`).join("\n"),
  speaker: (text) => `**${plain(text)}**`,
  asked: (text) => `*${plain(text)}*`,
  aside: (text) => `*${plain(text)}*`,
  choice: (text) => `- ${plain(text)}`,
};

/** The story as Markdown. */
export function asMarkdown(story) {
  const parts = [`# ${story.title}`, ...blocks(story).map(([kind, text]) => (MARKDOWN[kind] ?? plain)(text))];
  return `${parts.join("\n\n")}\n`;
}

function plain(text) {
  return text.replace(/([\\`*_[\]<>#|~])/g, "\\$1").replace(/^(\d*)([-+.)])(?=\s)/, "$1\\$2");
}

const STYLE = `
:root { color-scheme: light dark; }
body { max-width: 38rem; margin: 3rem auto; padding: 0 1.2rem; font: 1.15rem/1.65 "Iowan Old Style", Palatino, Georgia, serif; }
h1 { font-weight: 400; color: #0b7a54; }
.said { margin: 1.6rem 0 1rem; padding-left: 1rem; border-left: 3px solid #0b7a54; white-space: pre-wrap; }
.aside, .asked { font-style: italic; opacity: 0.8; }
.speaker { margin-bottom: 0; font-weight: bold; }
.choice { opacity: 0.75; }
.choice::before { content: "◆ "; color: #0b7a54; }
`;

/** The story as paragraphs, for a page of its own or a panel of this one. */
export function asElements(story) {
  return blocks(story).map(([kind, text]) => make(`p.${kind}`, text, { dir: "auto" }));
}

/** The story as a page of its own, without scripts or anything to fetch. */
export function asPage(story) {
  const body = make("body", [make("h1", story.title), ...asElements(story)]);
  // Written out by the browser, so what was said is escaped as it must be.
  const head = `<meta charset="utf-8"><meta name="viewport" content="width=device-width">${make("title", story.title).outerHTML}<style>${STYLE}</style>`;
  return `<!doctype html>\n<html lang="en"><head>${head}</head>${body.outerHTML}</html>\n`;
}

/** Hands a text to the visitor as a file. */
export function hand(name, kind, text) {
  const link = make("a", null, { href: URL.createObjectURL(new Blob([text], { type: `${kind};charset=utf-8` })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
