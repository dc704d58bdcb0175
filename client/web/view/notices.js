// The two lines that say what is wrong: with the connection, and with what was just said.

import { byId, setText } from "../dom.js";

let retryAt = 0;

/** The connection's line; an empty sentence hides it. `retryMs`: until the next try, counted down. */
export function notice(sentence, offer = "", retryMs = null) {
  const box = byId("connection");
  const [words, button] = box.children;
  retryAt = retryMs === null ? 0 : Date.now() + retryMs;
  words.dataset.sentence = sentence;
  box.hidden = !sentence;
  setText(button, offer);
  button.hidden = !offer;
  countDown();
}

/** To be called every now and then. */
export function countDown() {
  const words = byId("connection").firstElementChild;
  const { sentence = "" } = words.dataset;
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  setText(words, retryAt ? `${sentence} ${seconds ? `Coming back in ${seconds} s.` : "Coming back…"}` : sentence);
}

/** What the connection's line says; empty where it is hidden. */
export function noticed() {
  return byId("connection").hidden ? "" : byId("connection").firstElementChild.textContent;
}

/** The line above the composer. */
export function problem(sentence) {
  byId("problem").hidden = !sentence;
  setText(byId("problem").firstElementChild, sentence);
}
