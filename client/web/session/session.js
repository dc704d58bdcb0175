// A play: one session, its connection, and the actions that wait their turn.
//
// `Play` finds the socket, says hello, keeps the connection open, comes back when it is lost and goes on where it
// was. It sends one action at a time and sends again, with the same id, what was not acknowledged. What happens goes
// to `listener` as `{kind, …}`, in order. The twin of `client/session/`; the protocol is in docs/protocol.md.

import { ActionQueue, TIMEOUTS, lineProblem, patience } from "./queue.js";
import { ConnectError, explainClose, findSocket } from "./connect.js";
import { OPENING, Story } from "./story.js";
import { Timers } from "../timers.js";

export const PROTOCOL = 1;

export class Play {
  #socket = null;
  #timers = new Timers();
  #attempt = 0;
  #stopping = new Set();
  #gapSince = 0;
  #pinged = 0;
  #asked = 0; // when, and how many times since there was last anything new
  #asks = 0;
  #opened = 0;
  #heard = 0;
  #sent = 0;
  #left = false;
  #opening = false;
  #refused = false;

  /** `store` keeps the session: an object with `read()` and `write(session)`. `unsent`: lines of an earlier visit,
   * `{id, text}`, which are sent again: a line sent twice is said once. */
  constructor({ store, listener, unsent = [], timeouts = {}, page = document.baseURI }) {
    this.story = new Story();
    this.queue = new ActionQueue();
    this.profile = {};
    this.visit = null; // what it used so far
    this.simulated = false;
    this.wake = null;
    this.beat = null;
    this.world = null;
    this.title = "";
    this.fields = [];
    this.connected = this.taken = false;
    this.session = store.read();
    this.store = store;
    this.page = page;
    this.timeouts = { ...TIMEOUTS, ...timeouts };
    this.emit = listener;
    for (const { id, text } of unsent) {
      this.queue.add({ action: "say", id, text });
      this.#emitAll(this.story.said(id, text));
    }
    this.watcher = setInterval(() => this.#watch(), Math.min(this.timeouts.gap / 2, 500));
    this.#open();
  }

  // --- actions ------------------------------------------------------------------------

  /** Says a line, or replies to the question `ask`. Gives false where it cannot be said. */
  say(text, ask) {
    if (!this.#isSayable(text, { action: "say", ask })) return false;
    const id = this.queue.name();
    this.#enqueue(ask ? { action: "say", id, text, ask } : { action: "say", id, text });
    if (!ask) this.#emitAll(this.story.said(id, text));
    return true;
  }

  next(beat) {
    this.#enqueue({ action: "next", id: this.queue.name(), beat });
  }

  skip() {
    this.#enqueue({ action: "skip", id: this.queue.name() });
  }

  /** `action`: retry, undo, continue, or edit and rewrite (then with `text`), on the last turn. */
  actOn(turn, action, text) {
    if (text !== undefined && !this.#isSayable(text, { action })) return false;
    const frame = { action, id: this.queue.name(), of: turn.id };
    this.#enqueue(text === undefined ? frame : { ...frame, text }, { mark: turn.mark });
    return true;
  }

  remember(profile) {
    this.#enqueue({ action: "remember", id: this.queue.name(), profile });
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
    this.#timers.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #isSayable(text, action) {
    const message = lineProblem(text);
    if (message) this.emit({ kind: "failed", code: "unsayable", message, action });
    return !message;
  }

  // --- the connection -----------------------------------------------------------------

  async #open() {
    this.#timers.clear();
    if (this.#opening) return;
    this.#opening = true;
    this.emit({ kind: "connection", state: "opening" });
    let socket;
    try {
      socket = new WebSocket(await findSocket(this.page, { protocol: PROTOCOL, timeouts: this.timeouts.open }));
    } catch (error) {
      this.#opening = false;
      if (error.name === "SignInError") {
        this.leave();
        this.emit({ kind: "connection", state: "closed", sentence: error.message });
      } else if (!this.#left) this.#lost(error instanceof ConnectError ? error.message : "The socket's address cannot be used.");
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
    const head = this.queue.head;
    if ((code === 1003 || code === 1009) && head?.tries) {
      // Sent again, it would close the next connection too.
      const { frame } = this.queue.settle(head.key);
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
    this.queue.recall();
    if (this.#left) return;
    if (this.taken) {
      this.emit({ kind: "connection", state: "taken" });
      return;
    }
    const { retryFirst, retryMost } = this.timeouts;
    const wait = Math.min(retryMost, retryFirst * 2 ** this.#attempt) * (0.5 + Math.random() / 2);
    this.emit({ kind: "connection", state: "lost", sentence, retryMs: wait });
    this.#timers.after(wait, () => this.#open());
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
    const { acknowledged, gap, pingAfter, pong, silence } = this.timeouts;
    if (!this.#socket) return;
    if (this.#pinged && now - this.#pinged > pong) return this.#abandon();
    if (!this.connected) return now - this.#opened > acknowledged ? this.#abandon() : undefined;
    const { head } = this.queue;
    if (head?.out && now - head.out > acknowledged) return this.#abandon();
    if (this.#gapSince && now - this.#gapSince > gap) {
      this.#gapSince = now + acknowledged;
      this.#hello();
    } else if (this.story.live && now - Math.max(this.#heard, this.#asked) > patience(silence, this.#asks)) {
      this.#asked = this.#pinged = now;
      this.#asks += 1;
      this.#hello();
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

  #enqueue(frame, more) {
    this.queue.add(frame, more);
    this.#deliver();
  }

  #deliver() {
    const { head } = this.queue;
    if (!head || head.out || !this.connected) return;
    head.out = Date.now();
    head.tries += 1;
    this.#send(head.frame);
  }

  // --- what comes ---------------------------------------------------------------------

  #receive(data) {
    try {
      const frame = JSON.parse(data);
      if (["welcome", "pong"].includes(frame.type)) this.#pinged = 0; // each proves that the connection lives
      if (["token", "end"].includes(frame.type)) this.#asks = 0;
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
    aside: (frame) => this.#emitAll(this.story.putAside(frame)),
    token: (frame) => this.#emitAll(this.story.token(frame)),
    end: (frame) => {
      this.#stopping.delete(frame.to);
      this.visit = frame.visit ?? this.visit;
      this.#emitAll(this.story.end(frame));
    },
    history: ({ before, turns }) => {
      this.queue.settle(`history:${before}`);
      this.emit({ kind: "earlier", turns: this.story.earlier(turns), isAll: turns.length === 0 });
      this.#deliver();
    },
  };

  #welcome({ session, world, protocol, resumed, turns, profile, title = "", fields = [], simulated = false }) {
    if (protocol !== PROTOCOL) {
      this.leave();
      this.emit({ kind: "connection", state: "closed", sentence: "Overture has been renewed: reload the page." });
      return;
    }
    const again = this.connected;
    if (this.#refused || (this.session && this.session !== session)) this.#forget();
    Object.assign(this, { session, world, profile, title, fields, simulated, connected: true });
    this.store.write(session);
    this.#gapSince = 0;
    const waiting = this.queue.lines;
    this.#emitAll(this.story.welcome(turns, (id) => waiting.has(id)));
    if (this.story.turns.some((turn) => turn.held.size)) this.#gapSince = Date.now();
    if (!again) this.emit({ kind: "connection", state: "open" });
    this.emit({ kind: "welcome", resumed, again });
    for (const { id, live } of again ? [] : this.story.turns) if (live && this.#stopping.has(id)) this.#send({ action: "stop", of: id });
    this.#deliver();
  }

  /** The server has another session for us: the old one's turns are gone, and what was said in it stays unsaid. */
  #forget() {
    const unsent = this.queue.unsent;
    this.#refused = false;
    this.queue.clear();
    this.story = new Story();
    this.beat = this.visit = null;
    this.emit({ kind: "forgotten", unsent });
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
      this.session = null; // what was remembered is no session
      this.#refused = true;
      this.store.write(null);
      this.#hello();
      return;
    }
    // `history` has no id: what refuses it names its `before`, or is the one refusal only it gets.
    const isOf = ({ action, id, before }) => (to ? to === id || to === before : action === "history" && code === "unknown_turn");
    const pending = this.queue.find(isOf);
    if (!pending) {
      // Of a turn that will be told again (`retryable`), or one that was given up.
      if (to && !retryable) this.#emitAll(this.story.failed(to, message));
      this.emit({ kind: "failed", code, message, turn: to ? this.story.get(to) : undefined });
      return;
    }
    if (code === "hello_first" || code === "no_session") this.#hello();
    const pauses = this.timeouts.refusedAgain;
    if (retryable && code !== "bad_reply" && pending.tries <= pauses.length) {
      this.#timers.after(pauses[pending.tries - 1], () => {
        pending.out = false;
        this.#deliver();
      });
      pending.out = Infinity;
      return;
    }
    this.queue.settle(pending.key);
    if (pending.frame.action === "say") this.#emitAll(this.story.forget(to));
    this.emit({ kind: "failed", code, message, action: pending.frame });
    this.#deliver();
  }

  #acknowledge({ to, answered }) {
    const pending = this.queue.settle(to);
    if (!pending) return;
    const { action, ask, of, text, beat, profile } = pending.frame;
    if (action === "skip" || (action === "next" && this.beat?.final && beat === this.beat.id)) {
      if (!this.story.begun) this.#emitAll(this.story.said(OPENING, ""));
    } else if (action === "say" && ask && answered) {
      // No reply to the question, but one of its own, or a greeting: what is said to it follows.
      if (!this.story.get(to)) this.#emitAll(this.story.said(to, text));
    } else if (action === "say" && ask) {
      // As it was said; the server may have taken less of it ("I am Ada": Ada), which the next welcome tells.
      this.profile = { ...this.profile, [ask]: text };
    } else if (action === "say") {
      // A server that does not say whether the index answers this line is given a moment to answer it.
      if (answered === false) this.#emitAll(this.story.assure(to));
      else if (answered === undefined) setTimeout(() => this.#emitAll(this.story.assure(to)), this.story.begun ? 0 : this.timeouts.answer);
    } else if (action === "undo") this.#emitAll(this.story.forget(of));
    else if (action === "remember") {
      this.profile = Object.fromEntries(Object.entries({ ...this.profile, ...profile }).filter(([, value]) => value));
    } else if (action === "rewrite") this.#emitAll(this.story.rewritten(of, text));
    else if (["retry", "edit", "continue"].includes(action)) {
      this.#emitAll(this.story.reopened(of, pending.mark, text));
    }
    this.emit({ kind: "done", action: pending.frame, isReply: Boolean(ask) && !answered });
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
