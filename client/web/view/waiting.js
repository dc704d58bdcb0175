// What the visitor sees while waiting: the bar of the storyteller's waking, and words beside a turn that is not told yet.

import { byId, setText } from "../dom.js";
import { inWords } from "./countdown.js";

/** Shows how far the storyteller is. `waking` is what a countdown reads. */
export function showWaking(waking, { story, queue }) {
  const [words, figures] = inWords(waking);
  const { begun, live } = story;
  const isWaiting = waking.state !== "ready" && (!begun || live?.state === "waiting");
  byId("waking").hidden = begun && !isWaiting;
  setText(byId("waking-words"), words);
  // Awake, but the next scene is slow in coming.
  setText(byId("waking-figures"), figures || (queue.owedS >= 1 ? `One moment, ${Math.floor(queue.owedS)} s` : ""));
  const bar = byId("waking-bar");
  bar.setAttribute("aria-valuenow", Math.round(waking.progress * 100));
  bar.setAttribute("aria-valuetext", words);
  bar.firstElementChild.style.transform = `scaleX(${waking.progress})`;
}

/** What a live turn waits for. `lastNews`: when anything was heard last, in milliseconds as of `Date.now`. */
export function waitInWords(turn, { play, waking, lastNews }) {
  if (!play.connected) {
    if (!play.queue.lines.has(turn.id)) return "Waiting for the connection…";
    return navigator.onLine ? "Not connected. Your line is kept, and sent when the connection is back." : "You are offline. Your line is kept, and sent when you are back.";
  }
  if (turn !== play.story.live) return "Kept for when this was told.";
  const silent = Math.floor((Date.now() - Math.max(turn.since, turn.state === "telling" ? lastNews : 0)) / 1000);
  if (turn.state === "telling") return silent >= 2 ? `The storyteller looks for a word… ${silent} s` : "";
  if (waking.state !== "ready") return `${inWords(waking)[0]}…`;
  return `The storyteller draws breath…${silent >= 1 ? ` ${silent} s` : ""}`;
}
