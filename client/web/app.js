// The page: joins the play to what is seen of it. Everything shown begins here; the wire is in
// play.js, the story's rules in story.js, the log in log.js.

import { Countdown, inWords } from "./countdown.js";
import { byId, setText } from "./dom.js";
import { Log } from "./log.js";
import { Play } from "./play.js";
import { Pacer } from "./prologue.js";

const SESSION = "overture.session";

/** Private windows may forbid storage: then a session lasts as long as its page. */
const store = {
  kept: null,
  read() {
    try {
      return localStorage.getItem(SESSION) ?? this.kept;
    } catch {
      return this.kept;
    }
  },
  write(session) {
    this.kept = session;
    try {
      if (session) localStorage.setItem(SESSION, session);
      else localStorage.removeItem(SESSION);
    } catch {
      // kept above
    }
  },
};

const log = new Log(byId("log"), byId("announcer"), {
  say: (text) => say(text),
  reply: (beat, text) => play.say(text, beat.ask.key),
  pass: (beat) => play.next(beat.id),
  actOn: (turn, action, text) => play.actOn(turn, action, text),
});

const pacer = new Pacer({
  onLine: (text, beat) => log.line(text, beat.speaker),
  onQuestion: (beat) => log.question(beat),
  onEnd: (beat) => play.next(beat.id),
});

let countdown = new Countdown();
let lastNews = Date.now();
let retryAt = 0;
let play = begin();

function begin() {
  return new Play({ store, listener: (event) => hear(event) });
}

// --- what happens ---------------------------------------------------------------------

function hear(event) {
  lastNews = Date.now();
  // The first events come while the first `play` is still being made.
  queueMicrotask(() => HANDLERS[event.kind]?.(event));
}

const HANDLERS = {
  connection: ({ state, sentence, retryMs }) => {
    retryAt = state === "lost" ? Date.now() + retryMs : 0;
    if (state === "taken") notice("This story is open in another window, and goes on there.", "Take it back here");
    else if (state === "closed") notice(sentence, "Reload");
    else if (state === "lost") notice(sentence, "Now");
    else if (state === "open") notice("");
    document.body.dataset.connection = state;
  },
  forgotten: () => {
    pacer.stop();
    log.clear();
    log.note("The house has forgotten the story you were in: this is a new one.");
  },
  welcome: () => redraw(),
  beat: ({ beat }) => {
    log.dropQuestion();
    pacer.tell(beat);
  },
  wake: ({ wake }) => {
    countdown.hear(wake, now());
    tick();
  },
  done: ({ action }) => {
    if (action.action === "say" && action.ask && log.asked?.ask.key === action.ask) log.dropQuestion(action.text);
    redraw();
  },
  failed: ({ message, action, turn }) => {
    if (action?.ask && log.asked?.ask.key === action.ask) log.refuse(message);
    else if (!turn?.error) problem(message);
    redraw();
  },
  appeared: () => redraw(),
  told: () => redraw(),
  anew: () => redraw(),
  altered: () => redraw(),
  ended: () => redraw(),
  removed: ({ turn }) => {
    log.remove(turn);
    redraw();
  },
  earlier: ({ turns, isAll }) => {
    log.prepend(turns);
    byId("earlier").hidden = isAll;
  },
};

function redraw() {
  const { turns, last, begun, live } = play.story;
  const isBusy = play.isPending("retry", "undo", "edit", "continue");
  for (const turn of turns) log.show(turn, { isLast: turn === last && turns.every((other) => !other.live), isBusy });
  log.arrange(turns);
  if (begun && document.body.dataset.act === "prologue") {
    document.body.dataset.act = "story";
    pacer.stop();
    log.dropQuestion();
  }
  byId("stop").hidden = !live;
  byId("skip").hidden = begun || !play.beat;
  byId("earlier").hidden ||= !turns.length;
  tick();
}

// --- what the visitor does ------------------------------------------------------------

function say(text) {
  problem("");
  return play.say(text);
}

const line = byId("line");

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = line.value.trim();
  if (text && say(text)) line.value = "";
  fit();
  line.focus();
});

line.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("say").requestSubmit();
});
line.addEventListener("input", fit);

/** The line's box grows with what is written in it. */
function fit() {
  line.rows = Math.min(6, Math.max(1, line.value.split("\n").length, Math.ceil(line.value.length / 46)));
}

byId("stop").addEventListener("click", () => {
  const { live } = play.story;
  if (live) play.stop(live);
});
byId("skip").addEventListener("click", () => {
  byId("skip").hidden = true;
  pacer.stop();
  log.dropQuestion();
  play.skip();
});
byId("earlier").addEventListener("click", () => play.earlier());
byId("connection")
  .querySelector("button")
  .addEventListener("click", () => (document.body.dataset.connection === "closed" ? location.reload() : play.comeBack()));

// A device that wakes up or finds the network again need not wait for a timer.
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && revive());
addEventListener("online", revive);

function revive() {
  if (play.connected) play.ping();
  else if (!play.taken) play.comeBack();
}

for (const button of document.querySelectorAll("[data-opens]")) {
  button.addEventListener("click", () => byId(button.dataset.opens).showModal());
}

byId("over").addEventListener("close", () => {
  if (byId("over").returnValue !== "over") return;
  byId("over").returnValue = "";
  play.leave();
  pacer.stop();
  log.clear();
  store.write(null);
  countdown = new Countdown();
  document.body.dataset.act = "prologue";
  problem("");
  play = begin();
  line.focus();
});

// --- what goes on by itself: never three seconds without something new ------------------

setInterval(tick, 500);

function tick() {
  const waking = countdown.read(now());
  const [words, figures] = inWords(waking);
  const { begun, live } = play.story;
  const isWaiting = waking.state !== "ready" && (!begun || live?.state === "waiting");
  byId("waking").hidden = begun && !isWaiting;
  setText(byId("waking-words"), words);
  setText(byId("waking-figures"), figures);
  const bar = byId("waking-bar");
  bar.setAttribute("aria-valuenow", Math.round(waking.progress * 100));
  bar.setAttribute("aria-valuetext", words);
  bar.firstElementChild.style.transform = `scaleX(${waking.progress})`;
  for (const turn of play.story.turns) {
    if (turn.live) log.wait(turn, turn === live ? waitInWords(turn, waking) : "Kept for when this was told.");
  }
  if (retryAt) notice(document.querySelector("#connection p").dataset.sentence, "Now");
}

function waitInWords(turn, waking) {
  if (!play.connected) return "Waiting for the connection…";
  const silent = Math.floor((Date.now() - Math.max(turn.since, turn.state === "telling" ? lastNews : 0)) / 1000);
  if (turn.state === "telling") return silent >= 2 ? `The storyteller looks for a word… ${silent} s` : "";
  if (waking.state !== "ready") return `${inWords(waking)[0]}…`;
  return `The storyteller draws breath…${silent >= 1 ? ` ${silent} s` : ""}`;
}

function notice(sentence, offer = "") {
  const box = byId("connection");
  const [words, button] = box.children;
  box.hidden = !sentence;
  words.dataset.sentence = sentence;
  const seconds = retryAt ? Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) : null;
  setText(words, seconds === null ? sentence : `${sentence} ${seconds ? `Coming back in ${seconds} s.` : "Coming back…"}`);
  setText(button, offer);
  button.hidden = !offer;
}

function problem(sentence) {
  const box = byId("problem");
  box.hidden = !sentence;
  setText(box.firstElementChild, sentence);
}

function now() {
  return performance.now() / 1000;
}
