// Keeping the story: as Markdown, and as a page that needs nothing but itself. Nothing said in it is
// taken for markup. Knows turns, not the socket.

import { make } from "./dom.js";

/** The story as Markdown. */
export function asMarkdown(title, turns) {
  const parts = [`# ${title}`];
  for (const turn of turns) {
    if (turn.said) parts.push(turn.said.split("\n").map((line) => `> ${plain(line)}`).join("\n"));
    const { told, choices } = turn.parts;
    for (const line of told) parts.push(turn.state === "answered" ? `*${plain(line)}*` : plain(line));
    for (const choice of choices) parts.push(`- ${plain(choice)}`);
  }
  return `${parts.join("\n\n")}\n`;
}

function plain(text) {
  return text.replace(/([\\`*_[\]<>#|~])/g, "\\$1").replace(/^(\d*)([-+.)])(?=\s)/, "$1\\$2");
}

const STYLE = `
:root { color-scheme: light dark; }
body { max-width: 38rem; margin: 3rem auto; padding: 0 1.2rem; font: 1.15rem/1.65 "Iowan Old Style", Palatino, Georgia, serif; }
h1 { font-weight: 400; color: #0b7a54; }
.said { margin: 1.6rem 0 1rem; padding-left: 1rem; border-left: 3px solid #0b7a54; }
.aside, footer { font-style: italic; opacity: 0.8; }
li { opacity: 0.75; }
`;

/** The story as a page of its own, without scripts or anything to fetch. */
export function asPage(title, turns) {
  const body = make("body", [make("h1", title)]);
  for (const turn of turns) {
    if (turn.said) body.append(make("p.said", turn.said));
    const { told, choices } = turn.parts;
    for (const line of told) body.append(make(turn.state === "answered" ? "p.aside" : "p", line));
    if (choices.length) body.append(make("ul", choices.map((choice) => make("li", choice))));
  }
  // Written out by the browser, so what was said is escaped as it must be.
  const head = `<meta charset="utf-8"><meta name="viewport" content="width=device-width">${make("title", title).outerHTML}<style>${STYLE}</style>`;
  return `<!doctype html>\n<html lang="en"><head>${head}</head>${body.outerHTML}</html>\n`;
}

/** Hands a text to the visitor as a file. */
export function hand(name, kind, text) {
  const link = make("a", null, { href: URL.createObjectURL(new Blob([text], { type: `${kind};charset=utf-8` })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
