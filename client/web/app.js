// The page: joins the play to what is seen of it. Everything shown begins here; the wire is in
// play.js, the story's rules in story.js, the log in log.js.

import { Backstage } from "./backstage.js";
import { Lantern } from "./city.js";
import { Countdown, inWords } from "./countdown.js";
import { byId, setText } from "./dom.js";
import { Doors } from "./doors.js";
import { asMarkdown, asPage, hand } from "./keep.js";
import { Log } from "./log.js";
import { Memory } from "./memory.js";
import { MusicBox } from "./music.js";
import { Play } from "./play.js";
import { Pacer } from "./prologue.js";
import { Kept } from "./storage.js";
import { OPENING } from "./story.js";

const store = new Kept("session");
const keptTitle = new Kept("title");
const keptWorld = new Kept("world");

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

const doors = new Doors(() => keptSound.read() === "off" || sound(true));
doors.name(keptTitle.read() ?? "Overture");
if (store.read()) doors.open(); // whoever comes back has seen the title
else doors.close();

const lantern = new Lantern(byId("pictures"));
lantern.world = keptWorld.read() ?? "emerald_city";
const backstage = new Backstage();
const memory = new Memory(byId("memory"), (changes) => play.remember(changes));

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
    else if (state === "closed") {
      doors.open(); // there is nothing to begin, but something to read
      notice(sentence, "Reload");
    } else if (state === "lost") notice(sentence, "Now");
    else if (state === "open") notice("");
    document.body.dataset.connection = state;
  },
  forgotten: () => {
    pacer.stop();
    log.clear();
    log.note("The house has forgotten the story you were in: this is a new one.");
  },
  welcome: ({ resumed, again }) => {
    // The server sends as many turns as fit; if the first of all is not among them, there are more.
    const first = play.story.turns[0];
    if (!again) byId("earlier").hidden = !resumed || !first || first.id === OPENING;
    if (play.title) doors.name(play.title);
    keptTitle.write(play.title || null);
    keptWorld.write(play.world);
    lantern.world = play.world;
    memory.show(play.profile, play.fields);
    redraw();
  },
  beat: ({ beat }) => {
    memory.show(play.profile, play.fields);
    log.dropQuestion();
    doors.whenOpen(() => pacer.tell(beat));
    redraw();
  },
  wake: ({ wake }) => {
    countdown.hear(wake, now());
    backstage.hear(wake, now());
    showBackstage();
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
  told: ({ turn }) => {
    if (turn.state !== "answered" && document.body.dataset.curtain === "down") raiseCurtain();
    redraw();
  },
  anew: () => redraw(),
  altered: () => redraw(),
  ended: () => {
    redraw();
    showBackstage();
  },
  removed: ({ turn }) => {
    log.remove(turn);
    redraw();
  },
  earlier: ({ turns, isAll }) => {
    log.prepend(turns);
    byId("earlier").hidden = isAll || turns[0]?.id === OPENING;
  },
};

function redraw() {
  const { turns, last, begun, live } = play.story;
  const isBusy = play.actions.has("retry", "undo", "edit", "continue");
  for (const turn of turns) log.show(turn, { isLast: turn === last && turns.every((other) => !other.live), isBusy });
  log.arrange(turns);
  if (begun && document.body.dataset.act === "prologue") {
    document.body.dataset.act = "story";
    pacer.stop();
    log.dropQuestion();
    log.markFirst(turns.find((turn) => turn.state !== "answered"));
    // Returning to a story that is told already needs no curtain.
    if (turns.some((turn) => turn.state !== "answered" && turn.reply)) {
      document.body.dataset.curtain = "up";
      lantern.turnTo("story");
    }
  }
  byId("stop").hidden = !live;
  byId("skip").hidden = begun || !play.beat || play.actions.has("skip");
  tick();
}

/** The first words of the story have come: the curtain falls on the prologue and rises on the story. */
function raiseCurtain() {
  document.body.dataset.curtain = "up";
  const curtain = byId("curtain");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (!still) curtain.className = "curtain closing";
  setTimeout(
    () => {
      lantern.turnTo("story");
      if (!still) curtain.className = "curtain opening";
    },
    still ? 0 : 900,
  );
  setTimeout(() => (curtain.className = "curtain"), 2700);
}

function showBackstage() {
  if (byId("backstage").open) backstage.show(byId("backstage-body"), play.story.turns);
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

function stop() {
  const { live } = play.story;
  if (live) play.stop(live);
}

byId("stop").addEventListener("click", stop);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
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

const BEFORE_OPENING = {
  memory: () => play.refresh(),
  backstage: () => backstage.show(byId("backstage-body"), play.story.turns),
  keep: () => setText(byId("keep-said"), ""),
};

function open(name) {
  BEFORE_OPENING[name]?.();
  byId(name).showModal();
  byId(name).scrollTop = 0; // the focus goes to its first button, which may be far down
}

for (const button of document.querySelectorAll("[data-opens]")) {
  button.addEventListener("click", () => open(button.dataset.opens));
}

addEventListener("keydown", (event) => {
  if (event.key !== "F2") return;
  event.preventDefault();
  if (byId("backstage").open) byId("backstage").close();
  else if (!document.querySelector("dialog[open]")) open("backstage");
});

const title = () => byId("title").textContent;
const fileName = (ending) => `${title().toLowerCase().replace(/^the /, "").replace(/[^\p{L}\p{N}]+/gu, "-") || "story"}.${ending}`;

const KEEPING = {
  "keep-markdown": () => hand(fileName("md"), "text/markdown", asMarkdown(title(), play.story.turns)),
  "keep-page": () => hand(fileName("html"), "text/html", asPage(title(), play.story.turns)),
  "keep-copy": async () => {
    await navigator.clipboard.writeText(asMarkdown(title(), play.story.turns));
    return "Copied.";
  },
  "keep-share": async () => {
    await navigator.share({ title: title(), text: asMarkdown(title(), play.story.turns) });
  },
};
byId("keep-share").hidden = !navigator.share;
for (const [id, keep] of Object.entries(KEEPING)) {
  byId(id).addEventListener("click", async () => {
    try {
      setText(byId("keep-said"), (await keep()) ?? "");
    } catch (error) {
      if (error.name !== "AbortError") setText(byId("keep-said"), "This browser did not allow that; save it instead.");
    }
  });
}

// --- the music box --------------------------------------------------------------------

const music = new MusicBox();
const keptVolume = new Kept("volume");

const keptSound = new Kept("sound");

/** Must be called from a click, or the browser keeps it silent. */
function sound(isOn) {
  if (isOn) music.start();
  else music.stop();
  byId("sound").setAttribute("aria-pressed", String(music.isPlaying));
  setText(byId("sound"), music.isPlaying ? "Silence the music box" : "Play the music box");
  byId("volume-label").hidden = !music.isPlaying;
}

byId("sound").addEventListener("click", () => {
  sound(!music.isPlaying);
  keptSound.write(music.isPlaying ? "on" : "off");
});
byId("volume").addEventListener("input", () => {
  music.volume = byId("volume").value / 100;
  keptVolume.write(byId("volume").value);
});
byId("volume").value = keptVolume.read() ?? 60;
music.volume = byId("volume").value / 100;

byId("over").addEventListener("close", () => {
  if (byId("over").returnValue !== "over") return;
  byId("over").returnValue = "";
  play.leave();
  pacer.stop();
  log.clear();
  store.write(null);
  countdown = new Countdown();
  setTheStage();
  problem("");
  play = begin();
  line.focus();
});

// --- what goes on by itself: never three seconds without something new ------------------

function setTheStage() {
  Object.assign(document.body.dataset, { act: "prologue", curtain: "down" });
  lantern.turnTo("prologue");
}

setTheStage();
setInterval(tick, 500);

function tick() {
  const waking = countdown.read(now());
  const [words, figures] = inWords(waking);
  const { begun, live } = play.story;
  const isWaiting = waking.state !== "ready" && (!begun || live?.state === "waiting");
  byId("waking").hidden = begun && !isWaiting;
  setText(byId("waking-words"), words);
  // Awake, but the next scene is slow in coming.
  setText(byId("waking-figures"), figures || (play.actions.owedS >= 1 ? `One moment, ${Math.floor(play.actions.owedS)} s` : ""));
  const bar = byId("waking-bar");
  bar.setAttribute("aria-valuenow", Math.round(waking.progress * 100));
  bar.setAttribute("aria-valuetext", words);
  music.mood = begun ? "story" : waking.state === "ready" || (waking.leftS ?? 99) < 6 ? "nearly" : "prologue";
  bar.firstElementChild.style.transform = `scaleX(${waking.progress})`;
  for (const turn of play.story.turns) {
    if (turn.live) log.wait(turn, turn === live ? waitInWords(turn, waking) : "Kept for when this was told.");
  }
  if (retryAt) notice(document.querySelector("#connection p").dataset.sentence, "Now");
  doors.say(byId("connection").hidden ? words : byId("connection").firstElementChild.textContent);
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
