// A visitor's actions on their way: kept in order until each is acknowledged or refused, one sent at a time. And how
// long to wait for what. The twin of `client/session/queue.py`.

import { count } from "./story.js";

export const LINE_CHARACTERS = 2000;

/** How long to wait for what, in milliseconds. The defaults suit API Gateway. */
export const TIMEOUTS = {
  open: 10_000,
  acknowledged: 15_000, // an `ok` that has not come by then means the connection is dead
  pingAfter: 300_000, // idle connections are closed after 600 s
  pong: 20_000,
  gap: 1_000, // a frame may overtake another; only then is the reply asked for again
  answer: 1_000, // the answer index answers a line at once, or it is one for the storyteller
  silence: 25_000, // a reply is awaited and nothing at all comes: ask how it stands (`patience`)
  retryFirst: 500,
  retryMost: 20_000,
  refusedAgain: [500, 1_500, 4_000], // pauses before a retryable refusal is tried again
};

/** The silence to bear after questions that brought nothing new: a thousand in line must not all ask. */
export const patience = (silence, asked) => silence * 2 ** Math.min(asked, 3);

/** ActionQueue in order. Each is `{frame, key, mark, tries, out}`: `out` is when it was sent, false while it waits, and
 * Infinity while a refusal is let pass. */
export class ActionQueue {
  #pending = [];
  #names = 0;
  #prefix = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  /** An id for an action, such as no other has. */
  name() {
    this.#names += 1;
    return `${this.#prefix}.${this.#names}`;
  }

  /** The one that is sent, or is sent next. */
  get head() {
    return this.#pending[0];
  }

  /** For how many seconds the server has owed an acknowledgement. */
  get owedS() {
    const out = this.head?.out;
    return Number.isFinite(out) && out > 0 ? (Date.now() - out) / 1000 : 0;
  }

  /** The ids of the lines that wait. */
  get lines() {
    return new Set(this.#pending.filter(({ frame }) => frame.action === "say").map(({ frame }) => frame.id));
  }

  /** The lines that were said and may not have arrived, replies to questions aside: `{id, text}`. */
  get unsent() {
    const lines = this.#pending.filter(({ frame }) => frame.action === "say" && !frame.ask);
    return lines.map(({ frame: { id, text } }) => ({ id, text }));
  }

  /** Takes everything out. */
  clear() {
    this.#pending = [];
  }

  add(frame, { key = frame.id, mark } = {}) {
    this.#pending.push({ frame, key, mark, tries: 0, out: false });
  }

  find(isOf) {
    return this.#pending.find(({ frame }) => isOf(frame));
  }

  /** Whether an action of this kind is on its way. */
  has(...actions) {
    return this.find(({ action }) => actions.includes(action)) !== undefined;
  }

  /** Takes an action out, and gives it, or null where there is none of this key. */
  settle(key) {
    const at = this.#pending.findIndex((pending) => pending.key === key);
    return at < 0 ? null : this.#pending.splice(at, 1)[0];
  }

  /** The connection is gone: what was sent waits again. */
  recall() {
    for (const pending of this.#pending) pending.out = false;
  }
}

/** Why a line cannot be said, or null where it can. */
export function lineProblem(text) {
  if (!text.trim()) return "There is nothing to say in this line.";
  const length = count(text);
  if (length <= LINE_CHARACTERS) return null;
  return `This line has ${length.toLocaleString("en")} characters; the storyteller hears ${LINE_CHARACTERS.toLocaleString("en")} at most.`;
}
