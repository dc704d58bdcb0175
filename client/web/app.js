// The page: joins the play to what is seen of it. The protocol is in session.js, the story's rules in story.js, the
// log in log.js.

import { Announcer } from "./view/announcer.js";
import { Backstage } from "./panels/backstage.js";
import { Slideshow } from "./scenery/city.js";
import { Composer, isComposing } from "./view/composer.js";
import { Countdown, inWords } from "./view/countdown.js";
import { byId, make } from "./dom.js";
import { Keeping } from "./stories/keeping.js";
import { Log } from "./view/log.js";
import { Memory } from "./panels/memory.js";
import { countDown, notice, noticed, problem } from "./view/notices.js";
import { Panels } from "./panels/panels.js";
import { Pacer } from "./view/prologue.js";
import { Reading, tint } from "./panels/reading.js";
import { Play } from "./session/session.js";
import { Sound } from "./scenery/sound.js";
import { Stored } from "./storage.js";
import { NO_ROOM, newRecord, plainTurns, restoreTakes, stories } from "./stories/stories.js";
import { OPENING } from "./session/story.js";
import { TitleScreen } from "./view/title_screen.js";
import { Wait } from "./view/wait.js";
import { showWaking, waitInWords } from "./view/waiting.js";

const SAVE_MS = 300;

const store = new Stored("session");
const keptTitle = new Stored("title");
const keptWorld = new Stored("world");

const reading = new Reading();
const sound = new Sound();

const log = new Log(byId("log"), {
  announcer: new Announcer(byId("announcer"), reading.voice),
  button: byId("newest"),
  actions: {
    say: (text) => say(text),
    reply: (beat, text) => play.say(text, beat.ask.key),
    pass: (beat) => {
      note({ asked: beat.ask.text });
      play.next(beat.id);
    },
    actOn: (turn, action, text) => play.actOn(turn, action, text),
    redraw: () => redraw(),
  },
});

const pacer = new Pacer({
  onLine: (text, beat) => {
    note({ beat: beat.id, speaker: beat.speaker, text });
    log.line(text, beat.speaker);
  },
  onQuestion: (beat) => log.question(beat),
  onEnd: (beat) => play.next(beat.id),
});

const titleScreen = new TitleScreen(() => sound.resume());
const slideshow = new Slideshow(byId("pictures"));
const backstage = new Backstage();
const memory = new Memory(byId("memory"), (changes) => play.remember(changes));
const keeping = new Keeping({ current: () => record, goTo });
const composer = new Composer((text) => say(text));

let record, countdown, wait, play;
let lastNews = Date.now();
let saving = 0;
let hasRoom = true;

titleScreen.name(keptTitle.read() ?? "Overture");
slideshow.world = keptWorld.read() ?? "emerald_city";
if (store.read()) titleScreen.open(); // whoever comes back has seen the title
else titleScreen.close();
begin(0);
keeping.readLink();
addEventListener("hashchange", () => keeping.readLink());

/** Plays the story whose session is stored, or a new one. `since`: when the wait for it began. */
function begin(since = now()) {
  record = stories.of(store.read()) ?? newRecord(store.read());
  countdown = new Countdown();
  wait = new Wait(since);
  notice("");
  log.clear();
  setTheStage();
  offer(record.offered);
  log.replay(record.prologue);
  problem("");
  hasRoom = true; // as far as is known
  play = new Play({ store, listener: (event) => hear(event), unsent: record.unsent });
}

/** Leaves this story, to which one can return, for another or (`null`) a new one. */
function goTo(other) {
  play.leave();
  pacer.stop();
  reading.voice.stop();
  record.draft = composer.text;
  save();
  store.write(other?.session ?? null);
  titleScreen.open();
  begin();
  composer.write(record.draft);
  byId("line").focus();
}

function setTheStage() {
  Object.assign(document.body.dataset, { act: "prologue", curtain: "down" });
  slideshow.turnTo("prologue");
  byId("earlier").hidden = byId("stop").hidden = true;
  tint(null);
}

// --- what is kept ---------------------------------------------------------------------

/** Adds to the prologue as it is kept. */
function note(entry) {
  record.prologue.push(entry);
  saveSoon();
}

function saveSoon() {
  saving ||= setTimeout(save, SAVE_MS);
}

function save() {
  clearTimeout(saving);
  saving = 0;
  if (!record.session) return;
  record.unsent = play.queue.unsent;
  if (play.connected && !record.gone) record.turns = plainTurns(play.story.turns);
  write();
}

/** Says so, once, where the browser has no room for it. */
function write() {
  const hadRoom = hasRoom;
  hasRoom = stories.write(record);
  if (hadRoom && !hasRoom) problem(NO_ROOM);
}

addEventListener("pagehide", () => saving && save());

// --- what happens ---------------------------------------------------------------------

function hear(event) {
  lastNews = Date.now();
  // The first events come while the first `play` is still being made.
  queueMicrotask(() => HANDLERS[event.kind]?.(event));
}

const HANDLERS = {
  connection: ({ state, sentence, retryMs }) => {
    if (state === "taken") notice("This story is open in another window, and goes on there.", "Take it back here");
    else if (state === "closed") {
      titleScreen.open(); // there is nothing to begin, but something to read
      notice(sentence, "Reload");
    } else if (state === "lost") notice(sentence, "Now", retryMs);
    else if (state === "open") {
      notice("");
      wait.mark("door", now());
    }
    document.body.dataset.connection = state;
  },
  forgotten: ({ unsent }) => {
    pacer.stop();
    record.gone = true;
    const isKept = record.turns.length + record.prologue.length > 0;
    if (isKept) write();
    const offered = [...record.offered, ...unsent.map(({ text }) => text), composer.text.trim()].filter(Boolean);
    record = { ...newRecord(play.session), offered };
    save(); // before the composer lets go of its line
    composer.write("");
    countdown = new Countdown();
    wait = new Wait(now());
    log.clear();
    setTheStage();
    log.note([make("p", `The server no longer has the story you were in${isKept ? "; you can still read it, under Keep" : ""}. This is a new one.`)]);
    offer(offered);
  },
  welcome: ({ resumed, again }) => {
    // The server sends as many turns as fit; if the first of all is not among them, there are more.
    const first = play.story.turns[0];
    if (!again) byId("earlier").hidden = !resumed || !first || first.id === OPENING || record.prologue.some(({ turn }) => turn === first.id);
    Object.assign(record, { session: play.session, title: play.title, world: play.world });
    restoreTakes(play.story.turns, record);
    wait.mark("frame", now());
    titleScreen.name(play.title || "Overture");
    keptTitle.write(play.title || null);
    keptWorld.write(play.world);
    slideshow.world = play.world;
    showProfile();
    redraw();
  },
  beat: ({ beat }) => {
    showProfile();
    log.dropQuestion();
    const told = record.prologue.filter((entry) => entry.beat === beat.id).length;
    titleScreen.whenOpen(() => pacer.tell(beat, told));
    redraw();
  },
  wake: ({ wake }) => {
    countdown.hear(wake, now());
    wait.hear(wake, now());
    showBackstage();
    tick();
  },
  done: ({ action, isReply }) => {
    if (action.ask && !isReply) log.openQuestion?.goOn();
    else if (action.action === "say" && action.ask && log.asked?.ask.key === action.ask) {
      note({ asked: log.asked.ask.text });
      note({ said: action.text });
      log.dropQuestion(action.text);
      showProfile();
    }
    redraw();
  },
  failed: ({ message, action, turn }) => {
    if (action?.ask && log.asked?.ask.key === action.ask) log.openQuestion.refuse(message);
    else if (!turn?.error) problem(message);
    redraw();
  },
  appeared: () => redraw(),
  told: ({ turn }) => {
    if (turn.state !== "answered") {
      wait.mark("token", now());
      if (document.body.dataset.curtain === "down") raiseCurtain();
    }
    redraw();
  },
  restarted: () => redraw(),
  altered: ({ turn }) => {
    const isAside = turn.state === "answered" && !play.story.begun;
    if (isAside && !record.prologue.some((entry) => entry.turn === turn.id)) note({ turn: turn.id });
    redraw();
  },
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
    saveSoon();
  },
};

function redraw() {
  const { turns, last, begun, live } = play.story;
  const isBusy = play.queue.has("retry", "undo", "edit", "rewrite", "continue");
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
      slideshow.turnTo("story");
    }
  }
  byId("stop").hidden = !live;
  byId("skip").hidden = begun || !play.beat || play.queue.has("skip");
  saveSoon();
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
      slideshow.turnTo("story");
      if (!still) curtain.className = "curtain opening";
    },
    still ? 0 : 900,
  );
  setTimeout(() => (curtain.className = "curtain"), 2700);
}

function showProfile() {
  memory.show(play.profile, play.fields);
  tint(play.profile.spectacles);
}

function showBackstage() {
  if (byId("backstage").open) backstage.show(byId("backstage-body"), play.story.turns, wait, play);
}

// --- what the visitor does ------------------------------------------------------------

/** A line from the composer, or a choice. While a question stands it may be the reply: the server tells. */
function say(text) {
  problem("");
  log.follower.toNewest();
  const { asked } = log;
  if (asked) {
    if (!play.say(text, asked.ask.key)) return false;
    log.openQuestion.wait();
    return true;
  }
  return play.say(text);
}

/** Shows lines that were not sent, until each is taken up: put into the composer, to be sent or changed. */
function offer(lines) {
  if (!lines.length) return;
  const rows = lines.map((text) => {
    const takeUp = () => {
      composer.write([composer.text.trim(), text].filter(Boolean).join("\n"));
      byId("line").focus();
      record.offered = record.offered.toSpliced(record.offered.indexOf(text), 1);
      save();
      (record.offered.length ? row : row.parentElement).remove();
    };
    const row = make("p.row", [make("q", text, { dir: "auto" }), make("button", "Take it up", { type: "button", onclick: takeUp })]);
    return row;
  });
  log.note([make("p", "These lines were not sent:"), ...rows]);
}

function stop() {
  const { live } = play.story;
  reading.voice.stop();
  if (live) play.stop(live);
}

const panels = new Panels({
  mayOpen: () => titleScreen.isOpen,
  before: {
    memory: () => play.refresh(),
    backstage: () => backstage.show(byId("backstage-body"), play.story.turns, wait, play),
    keep: () => {
      save();
      keeping.show();
    },
  },
});

byId("stop").addEventListener("click", stop);
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || isComposing(event) || panels.isModal || panels.closeBackstage()) return;
  stop();
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
byId("over").addEventListener("close", () => {
  if (byId("over").returnValue === "over") goTo(null);
  byId("over").returnValue = "";
});

// A device that wakes up or finds the network again need not wait for a timer.
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && revive());
addEventListener("online", revive);
addEventListener("offline", tick);

function revive() {
  if (play.connected) play.ping();
  else if (!play.taken) play.comeBack();
}

// --- what goes on by itself: never three seconds without something new ------------------

setInterval(tick, 500);

function tick() {
  const waking = countdown.read(now());
  const { turns, begun } = play.story;
  showWaking(waking, play);
  sound.music.mood = begun ? "story" : waking.state === "ready" || (waking.leftS ?? 99) < 6 ? "nearly" : "prologue";
  for (const turn of turns) if (turn.live) log.wait(turn, waitInWords(turn, { play, waking, lastNews }));
  countDown();
  titleScreen.say(noticed() || inWords(waking)[0]);
}

function now() {
  return performance.now() / 1000;
}
