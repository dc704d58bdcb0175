// A play over the wire: one session, its connection, and the actions that wait their turn.
//
// `Play` finds the socket, says hello, keeps the connection open, comes back when it is lost and
// goes on where it was. It sends one action at a time and sends again, with the same id, what was not
// acknowledged. It knows no page: what happens goes to `listener` as `{kind, …}`, in order. The twin
// of `client/transport.py`; the protocol is in docs/protocol.md.

import { DoorError, findSocket } from "./door.js";
import { OPENING, Story, count } from "./story.js";

export const PROTOCOL = 1;
export const LINE_CHARACTERS = 2000;

/** How long to wait for what, in milliseconds. The defaults suit API Gateway. */
const PATIENCE = {
  open: 10_000,
  acknowledged: 15_000, // an `ok` that has not come by then means the connection is dead
  pingAfter: 300_000, // idle connections are closed after 600 s
  pong: 10_000,
  gap: 1_000, // a frame may overtake another; only then is the reply asked for again
  answer: 1_000, // the book answers a line at once, or it is one for the storyteller
  silence: 25_000, // a reply is awaited and nothing at all comes: ask how it stands
  retryFirst: 500,
  retryMost: 20_000,
  refusedAgain: [500, 1_500, 4_000], // pauses before a retryable refusal is tried again
};

export class Play {
  #queue = [];
  #socket = null;
  #timers = new Set();
  #attempt = 0;
  #names = 0;
  #prefix = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  #stopping = new Set();
  #gapSince = 0;
  #pinged = 0;
  #asked = 0;
  #opened = 0;
  #heard = 0;
  #sent = 0;
  #left = false;
  #opening = false;

  /** `store` keeps the session: an object with `read()` and `write(session)`. */
  constructor({ store, listener, patience = {}, page = document.baseURI }) {
    this.story = new Story();
    this.profile = {};
    this.wake = null;
    this.beat = null;
    this.world = null;
    this.title = "";
    this.fields = [];
    this.connected = this.taken = false;
    this.session = store.read();
    this.store = store;
    this.page = page;
    this.patience = { ...PATIENCE, ...patience };
    this.emit = listener;
    this.watcher = setInterval(() => this.#watch(), Math.min(this.patience.gap / 2, 500));
    this.#open();
  }

  // --- actions ------------------------------------------------------------------------

  /** Says a line, or replies to the question `ask`. Gives false where it cannot be said. */
  say(text, ask) {
    const problem = unsayable(text);
    if (problem) {
      this.emit({ kind: "failed", code: "unsayable", message: problem, action: { action: "say", ask } });
      return false;
    }
    const id = this.#name();
    this.#enqueue(ask ? { action: "say", id, text, ask } : { action: "say", id, text });
    if (!ask) this.#emitAll(this.story.said(id, text));
    return true;
  }

  next(beat) {
    this.#enqueue({ action: "next", id: this.#name(), beat });
  }

  skip() {
    this.#enqueue({ action: "skip", id: this.#name() });
  }

  /** `action`: retry, undo, continue or edit (then with `text`), on the last turn. */
  actOn(turn, action, text) {
    const problem = text === undefined ? null : unsayable(text);
    if (problem) {
      this.emit({ kind: "failed", code: "unsayable", message: problem, action: { action } });
      return false;
    }
    const frame = { action, id: this.#name(), of: turn.id };
    this.#enqueue(text === undefined ? frame : { ...frame, text }, { mark: turn.mark });
    return true;
  }

  remember(profile) {
    this.#enqueue({ action: "remember", id: this.#name(), profile });
  }

  /** Asks for the turns before the oldest one known. */
  earlier() {
    const before = this.story.turns[0]?.id;
    if (before) this.#enqueue({ action: "history", before }, { key: `history:${before}` });
  }

  /** Stops the telling of this turn, at once, past all that waits. Sent again after a return. */
  stop(turn) {
    this.#stopping.add(turn.id);
    this.#send({ action: "stop", of: turn.id });
  }

  /** Asks how things stand: a `welcome` with `again` follows, and `profile` is what the server has. */
  refresh() {
    if (this.connected) this.#hello();
  }

  /** Asks for a sign of life; without one the connection counts as lost. */
  ping() {
    if (!this.connected) return;
    this.#pinged ||= Date.now();
    this.#send({ action: "ping" });
  }

  /** Takes the session back from another window, or cuts the wait for the next try short. */
  comeBack() {
    if (this.#left || this.#socket) return;
    this.taken = false;
    this.#open();
  }

  /** Leaves. The session lives on and can be returned to. */
  leave() {
    this.#left = true;
    clearInterval(this.watcher);
    for (const timer of this.#timers) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  /** For how many seconds the server has owed an acknowledgement. */
  get owedS() {
    const out = this.#queue[0]?.out;
    return Number.isFinite(out) && out > 0 ? (Date.now() - out) / 1000 : 0;
  }

  /** Whether an action of this kind is on its way. */
  isPending(...actions) {
    return this.#queue.some((pending) => actions.includes(pending.frame.action));
  }

  // --- the connection -----------------------------------------------------------------

  async #open() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    if (this.#opening) return;
    this.#opening = true;
    this.emit({ kind: "connection", state: "opening" });
    let socket;
    try {
      socket = new WebSocket(await findSocket(this.page, { protocol: PROTOCOL, patience: this.patience.open }));
    } catch (error) {
      this.#opening = false;
      if (error.name === "SignInError") {
        this.leave();
        this.emit({ kind: "connection", state: "closed", sentence: error.message });
      } else if (!this.#left) this.#lost(error instanceof DoorError ? error.message : "The socket's address cannot be used.");
      return;
    }
    this.#opening = false;
    if (this.#left) return void socket.close();
    this.#socket = socket;
    this.#opened = this.#heard = this.#sent = Date.now();
    socket.addEventListener("open", () => this.#hello());
    socket.addEventListener("message", (event) => {
      if (socket !== this.#socket) return;
      this.#heard = Date.now();
      this.#receive(event.data);
    });
    socket.addEventListener("close", (event) => {
      if (socket === this.#socket) this.#closed(event.code);
    });
  }

  #closed(code) {
    const sentence = this.taken ? "" : explainClose(code, Date.now() - this.#opened, Date.now() - Math.max(this.#heard, this.#sent));
    if ((code === 1003 || code === 1009) && this.#queue[0]?.tries) {
      // Sent again, it would close the next connection too.
      const { frame } = this.#queue.shift();
      if (frame.action === "say") this.#emitAll(this.story.forget(frame.id));
      this.emit({ kind: "failed", code: `closed_${code}`, message: sentence, action: frame });
    }
    this.#lost(sentence);
  }

  /** The connection is gone, or did not come about: come back later. */
  #lost(sentence) {
    this.#socket = null;
    this.#attempt = this.connected ? 0 : this.#attempt + 1;
    this.connected = false;
    this.#gapSince = this.#pinged = 0;
    for (const pending of this.#queue) pending.out = false;
    if (this.#left) return;
    if (this.taken) {
      this.emit({ kind: "connection", state: "taken" });
      return;
    }
    const { retryFirst, retryMost } = this.patience;
    const wait = Math.min(retryMost, retryFirst * 2 ** this.#attempt) * (0.5 + Math.random() / 2);
    this.emit({ kind: "connection", state: "lost", sentence, retryMs: wait });
    this.#after(wait, () => this.#open());
  }

  /** Gives this connection up at once: a dead one may take minutes to say that it closed. */
  #abandon() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#lost("The connection was lost.");
  }

  #watch() {
    const now = Date.now();
    const { acknowledged, gap, pingAfter, pong, silence } = this.patience;
    if (!this.#socket) return;
    if (this.#pinged && now - this.#pinged > pong) return this.#abandon();
    if (!this.connected) {
      if (now - this.#opened > acknowledged) this.#abandon();
      return;
    }
    const head = this.#queue[0];
    if (head?.out && now - head.out > acknowledged) return this.#abandon();
    if (this.#gapSince && now - this.#gapSince > gap) {
      this.#gapSince = now + acknowledged;
      this.#hello();
    } else if (this.story.live && now - Math.max(this.#heard, this.#asked) > silence) {
      this.#asked = now;
      this.#hello();
      this.ping();
    } else if (!this.#pinged && now - Math.max(this.#heard, this.#sent) > pingAfter) this.ping();
  }

  #hello() {
    const hello = { action: "hello" };
    if (this.session) hello.session = this.session;
    this.#send(hello);
  }

  #send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#sent = Date.now();
    this.#socket.send(JSON.stringify(frame));
  }

  #after(wait, act) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, wait);
    this.#timers.add(timer);
  }

  #name() {
    this.#names += 1;
    return `${this.#prefix}.${this.#names}`;
  }

  // --- the queue: one action at a time ------------------------------------------------

  #enqueue(frame, { key = frame.id, mark } = {}) {
    this.#queue.push({ frame, key, mark, tries: 0, out: false });
    this.#deliver();
  }

  #deliver() {
    const head = this.#queue[0];
    if (!head || head.out || !this.connected) return;
    head.out = Date.now();
    head.tries += 1;
    this.#send(head.frame);
  }

  #settle(key) {
    const at = this.#queue.findIndex((pending) => pending.key === key);
    if (at < 0) return null;
    const [pending] = this.#queue.splice(at, 1);
    return pending;
  }

  // --- what comes ---------------------------------------------------------------------

  #receive(data) {
    try {
      const frame = JSON.parse(data);
      const handle = Object.hasOwn(this.#handlers, frame.type) ? this.#handlers[frame.type] : null;
      handle?.(frame); // a type this page does not know is none of its business
    } catch (error) {
      console.error(error);
      this.emit({ kind: "failed", code: "bad_frame", message: "The server sent something that cannot be read." });
    }
  }

  #handlers = {
    welcome: (frame) => this.#welcome(frame),
    ok: (frame) => this.#acknowledge(frame),
    error: (frame) => this.#error(frame),
    pong: () => {
      this.#pinged = 0;
    },
    wake: ({ state, progress, eta_s, position }) => {
      this.wake = { state, progress, eta_s, position };
      this.emit({ kind: "wake", wake: this.wake });
    },
    beat: (beat) => {
      if (this.story.begun || this.beat?.id === beat.id) return; // late, or the one being told
      this.beat = beat;
      this.emit({ kind: "beat", beat });
    },
    answer: (frame) => this.#emitAll(this.story.answered(frame)),
    token: (frame) => this.#emitAll(this.story.token(frame)),
    end: (frame) => {
      this.#stopping.delete(frame.to);
      this.#emitAll(this.story.end(frame));
    },
    history: ({ before, turns }) => {
      this.#settle(`history:${before}`);
      this.emit({ kind: "earlier", turns: this.story.earlier(turns), isAll: turns.length === 0 });
      this.#deliver();
    },
  };

  #welcome({ session, world, protocol, resumed, turns, profile, title = "", fields = [] }) {
    if (protocol !== PROTOCOL) {
      this.leave();
      this.emit({ kind: "connection", state: "closed", sentence: "Overture has been renewed: reload the page." });
      return;
    }
    const again = this.connected;
    if (this.session && this.session !== session) {
      this.story = new Story(); // the old one was forgotten, and its turns with it
      this.beat = null;
      this.emit({ kind: "forgotten" });
    }
    Object.assign(this, { session, world, profile, title, fields, connected: true });
    this.store.write(session);
    this.#gapSince = 0;
    const waiting = new Set(this.#queue.filter(({ frame }) => frame.action === "say").map(({ frame }) => frame.id));
    this.#emitAll(this.story.welcome(turns, (id) => waiting.has(id)));
    if (this.story.turns.some((turn) => turn.held.size)) this.#gapSince = Date.now();
    if (!again) this.emit({ kind: "connection", state: "open" });
    this.emit({ kind: "welcome", resumed, again });
    if (!again) {
      for (const turn of this.story.turns) {
        if (turn.live && this.#stopping.has(turn.id)) this.#send({ action: "stop", of: turn.id });
      }
    }
    this.#deliver();
  }

  #error({ code, message, retryable, to }) {
    if (code === "taken_over") {
      this.taken = true;
      const socket = this.#socket;
      this.#socket = null;
      socket?.close();
      this.#lost("");
      return;
    }
    if (!this.connected && code === "hello_first") return;
    if (!this.connected && this.session && code === "bad_field") {
      this.session = null; // what was remembered is of no use: begin afresh
      this.store.write(null);
      this.#hello();
      return;
    }
    // `history` has no id: what refuses it names its `before`, or is the one refusal only it gets.
    const isOf = ({ action, id, before }) => (to ? to === id || to === before : action === "history" && code === "unknown_turn");
    const pending = this.#queue.find(({ frame }) => isOf(frame));
    if (!pending) {
      // Of a turn that will be told anew (`retryable`), or one that was given up.
      if (to && !retryable) this.#emitAll(this.story.failed(to, message));
      this.emit({ kind: "failed", code, message, turn: to ? this.story.get(to) : undefined });
      return;
    }
    if (code === "hello_first" || code === "no_session") this.#hello();
    const pauses = this.patience.refusedAgain;
    if (retryable && code !== "bad_reply" && pending.tries <= pauses.length) {
      this.#after(pauses[pending.tries - 1], () => {
        pending.out = false;
        this.#deliver();
      });
      pending.out = Infinity;
      return;
    }
    this.#settle(pending.key);
    if (pending.frame.action === "say") this.#emitAll(this.story.forget(to));
    this.emit({ kind: "failed", code, message, action: pending.frame });
    this.#deliver();
  }

  #acknowledge({ to, answered }) {
    const pending = this.#settle(to);
    if (!pending) return;
    const { action, ask, of, text, beat, profile } = pending.frame;
    if (action === "skip" || (action === "next" && this.beat?.final && beat === this.beat.id)) {
      if (!this.story.begun) this.#emitAll(this.story.said(OPENING, ""));
    } else if (action === "say" && ask) {
      // As it was said; the server may have taken less of it ("I am Ada": Ada), which the next welcome tells.
      this.profile = { ...this.profile, [ask]: text };
    } else if (action === "say") {
      // A server that does not say whether the book answers this line is given a moment to answer it.
      if (answered === false) this.#emitAll(this.story.assure(to));
      else if (answered === undefined) setTimeout(() => this.#emitAll(this.story.assure(to)), this.story.begun ? 0 : this.patience.answer);
    } else if (action === "undo") this.#emitAll(this.story.forget(of));
    else if (action === "remember") {
      this.profile = Object.fromEntries(Object.entries({ ...this.profile, ...profile }).filter(([, value]) => value));
    } else if (["retry", "edit", "continue"].includes(action)) {
      this.#emitAll(this.story.reopened(of, pending.mark, text));
    }
    this.emit({ kind: "done", action: pending.frame });
    this.#deliver();
  }

  #emitAll(changes) {
    for (const change of changes) {
      if (change.kind === "gap") this.#gapSince ||= Date.now();
      else this.emit(change);
    }
    if (!this.story.turns.some((turn) => turn.held.size)) this.#gapSince = 0;
  }
}

function unsayable(text) {
  if (!text.trim()) return "There is nothing to say in this line.";
  const length = count(text);
  if (length <= LINE_CHARACTERS) return null;
  return `This line has ${length.toLocaleString("en")} characters; the storyteller hears ${LINE_CHARACTERS.toLocaleString("en")} at most.`;
}

/** Why the connection ended, as far as its close code, age and idle time tell. */
export function explainClose(code, ageMs, idleMs) {
  if (code === 1009) return "That was too large to send: a message may have 128 KB at most. It was not delivered.";
  if (code === 1003) return "That was not text, and only text can be sent. It was not delivered.";
  if (ageMs > (2 * 3600 - 60) * 1000) return "A connection may last two hours, and this one did.";
  if (idleMs > 570_000) return "The connection was idle for ten minutes and was closed.";
  if (code === 1001) return "The server closed the connection.";
  return "The connection was lost.";
}
