// The log: what was said and told, on the page. It turns beats and turns into elements and asks, through
// `actions`, for what its buttons offer.

import { make, setText } from "../dom.js";
import { dollars, figure, statsInWords } from "../panels/figures.js";
import { Question } from "./question.js";
import { Follower } from "./scroll.js";
import { OPENING, partsOf } from "../session/story.js";

/** Who gives the written answers in a world whose prologue has no speaker. */
const NOBODY = "From the written answers";
const SWIPE = { along: 60, across: 40 }; // pixels

export class Log {
  #turns = new Map(); // turn -> element
  #places = new Map(); // id of a turn -> the element that keeps its place in the prologue
  #shownTakes = new Map(); // turn -> which former take is looked at
  #speaker = null;
  #question = null;

  /** `actions`: say(text), reply(beat, text), pass(beat), actOn(turn, action, text). */
  constructor(root, { announcer, button, actions }) {
    this.root = root;
    this.announcer = announcer;
    this.actions = actions;
    this.answerer = NOBODY; // who gives the written answers
    this.follower = new Follower(root.parentElement, button, () => this.#newest());
  }

  clear() {
    this.root.replaceChildren();
    for (const kept of [this.#turns, this.#places, this.#shownTakes]) kept.clear();
    this.#speaker = this.#question = null;
    this.answerer = NOBODY;
    this.follower.toNewest();
  }

  // --- the prologue -------------------------------------------------------------------

  line(text, speaker) {
    this.#line(text, speaker);
    this.announcer.say(speaker ? `${speaker}: ${text}` : text);
  }

  #line(text, speaker) {
    const children = [];
    if (speaker && speaker !== this.#speaker) children.push(make("span.speaker", speaker, { dir: "auto" }));
    if (speaker) this.answerer = speaker;
    this.#speaker = speaker;
    children.push(make("span", text));
    this.#add(make("p.line", children, { dir: "auto" }));
  }

  /** The prologue as it was shown on an earlier visit. Turns among it take their places when they come. */
  replay(prologue) {
    for (const { speaker = null, text, asked, said: reply, turn } of prologue) {
      if (text) this.#line(text, speaker);
      else if (asked) this.#add(make("p.line.asked", asked, { dir: "auto" }));
      else if (reply) this.#add(said(reply));
      else if (turn) {
        this.#places.set(turn, make("span", null, { hidden: true }));
        this.root.append(this.#places.get(turn));
      }
    }
  }

  question(beat) {
    this.dropQuestion();
    this.#question = new Question(beat, {
      onReply: (text) => this.actions.reply(beat, text),
      onPass: () => {
        this.dropQuestion();
        this.actions.pass(beat);
      },
    });
    this.#add(this.#question.form);
    this.announcer.say(beat.ask.text);
    if (matchMedia("(hover: hover)").matches && document.activeElement === document.body) this.#question.input.focus({ preventScroll: true });
  }

  /** The question open now, if any. */
  get asked() {
    return this.#question?.beat;
  }

  get openQuestion() {
    return this.#question;
  }

  /** The reply was taken, or the question is over without one. */
  dropQuestion(reply = null) {
    if (!this.#question) return;
    const { form, beat } = this.#question;
    const hadFocus = form.contains(document.activeElement);
    this.#question = null;
    form.replaceWith(make("p.line.asked", beat.ask.text, { dir: "auto" }), ...(reply ? [said(reply)] : []));
    if (hadFocus) this.root.focus({ preventScroll: true });
    this.follower.follow();
  }

  note(content) {
    this.#add(make("div.note", content));
  }

  // --- the story ----------------------------------------------------------------------

  /** Draws a turn as it now is. */
  show(turn, { isLast = false, isBusy = false } = {}) {
    const element = this.#turns.get(turn) ?? this.#addTurn(turn);
    element.dataset.id = turn.id;
    element.dataset.state = turn.state;
    element.classList.toggle("last", isLast);
    const [yours, reply, , offers, footer] = element.children;
    if (!yours.querySelector("form")) {
      if (turn.said && yours.textContent !== turn.said) yours.replaceChildren(said(turn.said));
      else if (!turn.said) yours.replaceChildren();
    }
    if (turn.live) this.#shownTakes.delete(turn);
    else this.wait(turn, "");
    const former = this.#former(turn);
    this.#showReply(turn, reply, former);
    this.#showOffers(turn, offers, former, isLast && !isBusy && !former);
    this.#showFooter(turn, footer, former, isLast && !isBusy);
    this.announcer.follow(turn);
    this.follower.follow();
  }

  #addTurn(turn) {
    const element = make("article.turn", [make("div.yours"), make("div.reply"), make("p.wait"), make("div.offers"), make("footer")]);
    this.#turns.set(turn, element);
    this.announcer.add(turn);
    const place = this.#places.get(turn.id);
    if (place) place.replaceWith(element);
    else this.#add(element);
    this.#places.delete(turn.id);
    this.#followSwipes(turn, element);
    return element;
  }

  /** The story begins with this turn. */
  markFirst(turn) {
    this.#turns.get(turn)?.classList.add("first");
  }

  /** What is said while nothing comes yet. */
  wait(turn, words) {
    const element = this.#turns.get(turn);
    if (element) setText(element.children[2], words);
  }

  remove(turn) {
    this.#turns.get(turn)?.remove();
    this.#turns.delete(turn);
  }

  /** Puts the turns in this order, for when they did not come in it. */
  arrange(turns) {
    const elements = turns.map((turn) => this.#turns.get(turn)).filter(Boolean);
    for (let at = elements.length - 2; at >= 0; at -= 1) {
      if (elements[at].compareDocumentPosition(elements[at + 1]) & Node.DOCUMENT_POSITION_PRECEDING) {
        elements[at + 1].before(elements[at]);
      }
    }
  }

  #showReply(turn, reply, former) {
    if (reply.querySelector("form")) return; // it is being rewritten
    const { told, choices } = former ? partsOf(former.reply, "done") : turn.parts;
    const blocks = told.map((text) => ["told", text]);
    if (turn.state === "answered" && told.length) blocks.unshift(["speaker", this.answerer]);
    if (turn.live) blocks.push(...choices.map((text) => ["choice", text]));
    if (turn.error) blocks.push(["problem", turn.error]);
    while (reply.children.length > blocks.length) reply.lastChild.remove();
    blocks.forEach(([kind, text], at) => {
      const there = reply.children[at] ?? reply.appendChild(make("p", null, { dir: "auto" }));
      if (there.className !== kind) there.className = kind;
      setText(there, text);
    });
  }

  #showOffers(turn, offers, former, isOpen) {
    const { choices } = former ? partsOf(former.reply, "done") : turn.live ? { choices: [] } : turn.parts;
    const key = `${isOpen} ${JSON.stringify(choices)}`;
    if (offers.dataset.key === key) return;
    offers.dataset.key = key;
    offers.replaceChildren(
      ...choices.map((choice) =>
        isOpen ? make("button.choice", choice, { type: "button", dir: "auto", onclick: () => this.actions.say(choice) }) : make("p.choice", choice, { dir: "auto" }),
      ),
    );
  }

  #showFooter(turn, footer, former, isOpen) {
    const key = JSON.stringify([turn.state, isOpen, turn.reason, turn.take, turn.stats, turn.takes.length, former?.take, turn.kept]);
    if (footer.dataset.key === key) return;
    footer.dataset.key = key;
    const children = [];
    if (turn.state === "answered") {
      const saved = turn.answer?.saved;
      if (turn.kept) children.push(make("p.small.kept", "Kept for when the storyteller wakes: the story begins with it."));
      if (turn.answer) children.push(make("p.small", "A written answer, without the storyteller."));
      if (saved?.tokens) children.push(make("p.small.stats", `It saved ${saved.tokens} tokens, ${dollars(saved.usd)} and ${figure(saved.mwh)} mWh.`));
    }
    if (former) children.push(make("p.small", former.said === turn.said ? "An earlier take; the story goes on from the latest." : `An earlier take, after “${former.said}”; the story goes on from the latest.`, { dir: "auto" }));
    else {
      if (turn.state === "stopped") children.push(make("p.small", "Stopped."));
      if (turn.state === "failed" && !turn.error) children.push(make("p.small", "This reply was not finished."));
      if (turn.reason === "length" || turn.reason === "deadline") children.push(make("p.small", "It had to pause here; it can go on."));
      if (turn.stats?.tokens) children.push(make("p.small.stats", statsInWords(turn.stats)));
    }
    const row = [...this.#takeButtons(turn), ...(isOpen ? (former ? [this.#resumeButton(turn, former)] : this.#actButtons(turn)) : [])];
    if (row.length && !turn.live) children.push(make("p.row", row));
    const hadFocus = footer.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    footer.replaceChildren(...children);
    if (hadFocus) footer.querySelector(`[aria-label="${hadFocus}"]`)?.focus();
  }

  #actButtons(turn) {
    if (turn.live || turn.state === "answered") return [];
    const offer = (label, action) => make("button.quiet", label, { type: "button", onclick: () => this.actions.actOn(turn, action) });
    return [
      turn.reply && turn.state !== "failed" ? offer("Continue", "continue") : null,
      offer("Retry", "retry"),
      turn.said ? make("button.quiet", "Edit", { type: "button", onclick: () => this.#edit(turn) }) : null,
      turn.reply ? make("button.quiet", "Rewrite", { type: "button", title: "Change what the storyteller told", onclick: () => this.#rewrite(turn) }) : null,
      turn.id === OPENING ? null : offer("Undo", "undo"),
    ];
  }

  /** The story goes on from a former take, if it is one of the same line. */
  #resumeButton(turn, former) {
    if (former.said !== turn.said) return null;
    const resume = () => {
      if (this.actions.actOn(turn, "rewrite", former.reply)) this.#shownTakes.delete(turn);
    };
    return make("button.quiet", "Go on from this take", { type: "button", onclick: resume });
  }

  // --- former takes -------------------------------------------------------------------

  /** The former take that is looked at, if it is not the latest. */
  #former(turn) {
    return turn.takes[this.#shownTakes.get(turn)] ?? null;
  }

  #takeButtons(turn) {
    if (!turn.takes.length) return [];
    const all = turn.takes.length + 1;
    const at = this.#shownTakes.get(turn) ?? all - 1;
    const to = (label, sign, place) =>
      make("button.quiet.take", sign, { type: "button", "aria-label": label, "aria-disabled": place < 0 || place >= all ? "true" : null, onclick: () => this.#turnTo(turn, place) });
    return [to("Earlier take", "‹", at - 1), make("span.small", `Take ${at + 1} of ${all}`, { role: "status" }), to("Later take", "›", at + 1)];
  }

  #turnTo(turn, place) {
    if (turn.live || place < 0 || place > turn.takes.length) return;
    if (place === turn.takes.length) this.#shownTakes.delete(turn);
    else this.#shownTakes.set(turn, place);
    this.actions.redraw();
  }

  #followSwipes(turn, element) {
    let start = null;
    element.addEventListener("touchstart", ({ touches }) => (start = touches.length === 1 ? touches[0] : null), { passive: true });
    element.addEventListener(
      "touchend",
      ({ changedTouches: [end] }) => {
        if (!start || !turn.takes.length) return;
        const [along, across] = [end.clientX - start.clientX, Math.abs(end.clientY - start.clientY)];
        const at = this.#shownTakes.get(turn) ?? turn.takes.length;
        if (Math.abs(along) > SWIPE.along && across < SWIPE.across) this.#turnTo(turn, along > 0 ? at - 1 : at + 1);
      },
      { passive: true },
    );
  }

  #edit(turn) {
    const yours = this.#turns.get(turn).children[0];
    const done = () => yours.replaceChildren(said(turn.said));
    yours.replaceChildren(this.#form(turn, "edit", { label: "Your line", text: turn.said, verb: "Say this instead", done }));
    yours.querySelector("textarea").focus();
  }

  #rewrite(turn) {
    const reply = this.#turns.get(turn).children[1];
    const done = () => {
      reply.replaceChildren();
      this.actions.redraw();
    };
    reply.replaceChildren(this.#form(turn, "rewrite", { label: "The storyteller's reply", text: turn.reply, verb: "Tell it like this", done }));
    reply.querySelector("textarea").focus();
  }

  /** A text to change, and a button that has `action` done with it. */
  #form(turn, action, { label, text, verb, done }) {
    const rows = Math.min(14, Math.max(2, Math.ceil(text.length / 60)));
    const input = make("textarea", null, { rows, dir: "auto", "aria-label": label });
    input.value = text;
    const form = make("form.edit", [
      input,
      make("p.row", [make("button", verb, { type: "submit" }), make("button.quiet", "Leave it", { type: "button", onclick: done })]),
    ]);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.actions.actOn(turn, action, input.value.trim())) done();
    });
    return form;
  }

  // --- within -------------------------------------------------------------------------

  #add(element) {
    this.root.append(element);
    this.follower.follow();
  }

  /** How far down the newest is in view: its end, but of a question taller than the view its top. */
  #newest() {
    const box = this.root.parentElement;
    const form = this.#question?.form;
    const end = box.scrollHeight - box.clientHeight;
    if (!form || form !== this.root.lastElementChild || form.offsetHeight <= box.clientHeight) return end;
    return form.querySelector("legend").offsetTop - box.offsetTop - 8; // not where it is drawn: it is still arriving
  }

  /** Earlier turns, put before all others without moving what is being read. */
  prepend(turns) {
    const box = this.root.parentElement;
    const height = box.scrollHeight;
    for (const turn of turns) this.show(turn);
    const first = this.root.querySelector(".turn");
    for (const turn of turns) {
      const element = this.#turns.get(turn);
      if (first && element !== first) first.before(element);
    }
    box.scrollTop += box.scrollHeight - height;
  }
}

function said(text) {
  return make("p.said", text, { dir: "auto" });
}
