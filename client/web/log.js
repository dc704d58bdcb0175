// The log: what was said and told, on the page. It turns beats and turns into elements and asks, through
// `actions`, for what its buttons offer. Knows neither socket nor timing.

import { OPENING } from "./story.js";
import { make, setText } from "./dom.js";

export class Log {
  #turns = new Map(); // turn -> element
  #speaker = null;
  #question = null;
  #spoken = new Map(); // turn -> how much of its text was announced

  /** `actions`: say(text), reply(beat, text), pass(beat), actOn(turn, action, text). */
  constructor(root, announcer, actions) {
    this.root = root;
    this.announcer = announcer;
    this.actions = actions;
    this.isAway = false; // whether the reader has gone back to read
    const box = root.parentElement;
    box.addEventListener("scroll", () => {
      this.isAway = this.#newest() - box.scrollTop > 90;
    });
    new ResizeObserver(() => this.#follow()).observe(box); // turned or resized, the text breaks elsewhere
  }

  clear() {
    this.root.replaceChildren();
    this.#turns.clear();
    this.#speaker = this.#question = null;
  }

  // --- the prologue -------------------------------------------------------------------

  line(text, speaker) {
    const children = [];
    if (speaker && speaker !== this.#speaker) children.push(make("span.speaker", speaker));
    this.#speaker = speaker;
    children.push(make("span", text));
    this.#add(make("p.line", children));
    this.announce(speaker ? `${speaker}: ${text}` : text);
  }

  question(beat) {
    this.dropQuestion();
    const { ask } = beat;
    const input = make("input", null, { type: "text", maxlength: 200, autocomplete: "off", "aria-label": "Your reply" });
    const problem = make("p.problem", "", { role: "alert" });
    const form = make("form.question", [
      make("fieldset", [
        make("legend", ask.text),
        make("div.choices", (ask.choices ?? []).map((choice) => make("button", choice, { type: "button", onclick: () => reply(choice) }))),
        make("div.row", [
          input,
          make("button", "Reply", { type: "submit" }),
          make("button.quiet", "Pass", { type: "button", onclick: () => this.#pass(beat), title: "Leave the question unanswered" }),
        ]),
        problem,
      ]),
    ]);
    const reply = (text) => {
      setText(problem, "");
      if (this.actions.reply(beat, text)) form.firstElementChild.disabled = true;
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value.trim()) reply(input.value.trim());
      else input.focus();
    });
    this.#question = { beat, form, problem, input };
    this.#add(form);
    this.announce(ask.text);
    if (matchMedia("(hover: hover)").matches && document.activeElement === document.body) input.focus({ preventScroll: true });
  }

  /** The question open now, if any. */
  get asked() {
    return this.#question?.beat;
  }

  /** The reply was refused: the question stands, with the reason. */
  refuse(message) {
    if (!this.#question) return;
    const { form, problem, input } = this.#question;
    form.firstElementChild.disabled = false;
    setText(problem, message);
    input.focus();
  }

  /** The reply was taken, or the question is over without one. */
  dropQuestion(reply = null) {
    if (!this.#question) return;
    const { form, beat } = this.#question;
    const hadFocus = form.contains(document.activeElement);
    this.#question = null;
    form.replaceWith(make("p.line.asked", [make("span", beat.ask.text)]), ...(reply ? [said(reply)] : []));
    if (hadFocus) this.root.focus({ preventScroll: true });
  }

  #pass(beat) {
    this.dropQuestion();
    this.actions.pass(beat);
  }

  note(text) {
    this.#add(make("p.note", text));
  }

  // --- the story ----------------------------------------------------------------------

  /** Draws a turn as it now is. */
  show(turn, { isLast = false, isBusy = false } = {}) {
    let element = this.#turns.get(turn);
    if (!element) {
      element = make("article.turn", [make("div.yours"), make("div.reply"), make("p.wait"), make("div.offers"), make("footer")]);
      this.#turns.set(turn, element);
      this.#spoken.set(turn, turn.live ? 0 : Infinity);
      this.#add(element);
    }
    element.dataset.id = turn.id;
    element.dataset.state = turn.state;
    element.classList.toggle("last", isLast);
    const [yours, reply, , offers, footer] = element.children;
    if (!yours.querySelector("form")) {
      if (turn.said && yours.textContent !== turn.said) yours.replaceChildren(said(turn.said));
      else if (!turn.said) yours.replaceChildren();
    }
    if (!turn.live) this.wait(turn, "");
    this.#showReply(turn, reply);
    this.#showOffers(turn, offers, isLast && !isBusy);
    this.#showFooter(turn, footer, isLast && !isBusy);
    this.#speakReply(turn);
    this.#follow();
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

  #showReply(turn, reply) {
    const { told, choices } = turn.parts;
    const blocks = told.map((text) => ["told", text]);
    if (turn.live) blocks.push(...choices.map((text) => ["choice", text]));
    if (turn.error) blocks.push(["problem", turn.error]);
    while (reply.children.length > blocks.length) reply.lastChild.remove();
    blocks.forEach(([kind, text], at) => {
      const there = reply.children[at] ?? reply.appendChild(make("p"));
      if (there.className !== kind) there.className = kind;
      setText(there, text);
    });
  }

  #showOffers(turn, offers, isOpen) {
    const { choices } = turn.live ? { choices: [] } : turn.parts;
    const key = `${isOpen} ${JSON.stringify(choices)}`;
    if (offers.dataset.key === key) return;
    offers.dataset.key = key;
    offers.replaceChildren(
      ...choices.map((choice) =>
        isOpen ? make("button.choice", choice, { type: "button", onclick: () => this.actions.say(choice) }) : make("p.choice", choice),
      ),
    );
  }

  #showFooter(turn, footer, isOpen) {
    const key = JSON.stringify([turn.state, isOpen, turn.reason, turn.take, turn.stats]);
    if (footer.dataset.key === key) return;
    footer.dataset.key = key;
    const children = [];
    if (turn.state === "answered") {
      const saved = turn.answer?.saved;
      const spared = saved?.tokens ? `; it spared ${saved.tokens} tokens, ${dollars(saved.usd)} and ${figure(saved.mwh)} mWh` : "";
      children.push(make("p.small", `A written answer, found by its meaning, without the storyteller${spared}.`));
    }
    if (turn.state === "stopped") children.push(make("p.small", "Stopped."));
    if (turn.state === "failed" && !turn.error) children.push(make("p.small", "This could not be told to its end."));
    if (turn.reason === "length" || turn.reason === "deadline") children.push(make("p.small", "It had to pause here; it can go on."));
    if (turn.stats?.tokens) children.push(make("p.small.stats", statsInWords(turn.stats)));
    if (isOpen && !turn.live && turn.state !== "answered") {
      const offer = (label, action) => make("button.quiet", label, { type: "button", onclick: () => this.actions.actOn(turn, action) });
      children.push(
        make("p.row", [
          turn.reply && turn.state !== "failed" ? offer("Continue", "continue") : null,
          offer("Retry", "retry"),
          turn.said ? make("button.quiet", "Edit", { type: "button", onclick: () => this.#edit(turn) }) : null,
          turn.id === OPENING ? null : offer("Undo", "undo"),
        ]),
      );
    }
    footer.replaceChildren(...children);
  }

  #edit(turn) {
    const yours = this.#turns.get(turn).firstElementChild;
    const input = make("textarea", null, { rows: 2, "aria-label": "Your line" });
    input.value = turn.said;
    const done = () => yours.replaceChildren(said(turn.said));
    const form = make("form.edit", [
      input,
      make("p.row", [make("button", "Say this instead", { type: "submit" }), make("button.quiet", "Leave it", { type: "button", onclick: done })]),
    ]);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.actions.actOn(turn, "edit", input.value.trim())) done();
    });
    yours.replaceChildren(form);
    input.focus();
  }

  // --- reading aloud ------------------------------------------------------------------

  announce(text) {
    const entry = make("p", text);
    this.announcer.append(entry);
    while (this.announcer.children.length > 12) this.announcer.firstChild.remove();
  }

  /** A screen reader hears whole sentences, not every token. */
  #speakReply(turn) {
    const already = this.#spoken.get(turn);
    const text = turn.parts.told.join("\n");
    if (already >= text.length) {
      if (already !== Infinity && text.length < already) this.#spoken.set(turn, 0);
      return;
    }
    const ends = [...text.matchAll(/[.!?…”’"']\s/gu)];
    const ready = turn.live ? (ends.at(-1)?.index ?? -1) + 1 : text.length;
    if (ready > already) {
      for (const sentence of text.slice(already, ready).split(/(?<=[.!?…][”’"']?)\s+/u)) {
        if (sentence.trim()) this.announce(sentence.trim());
      }
      this.#spoken.set(turn, ready);
    }
    if (!turn.live && turn.parts.choices.length) this.announce(`You may: ${turn.parts.choices.join(" Or: ")}`);
  }

  // --- within -------------------------------------------------------------------------

  #add(element) {
    this.root.append(element);
    this.#follow();
  }

  /** How far down the newest is in view: its end, but of a question taller than the view its top. */
  #newest() {
    const box = this.root.parentElement;
    const form = this.#question?.form;
    const end = box.scrollHeight - box.clientHeight;
    if (!form || form !== this.root.lastElementChild || form.offsetHeight <= box.clientHeight) return end;
    return form.offsetTop - box.offsetTop - 8; // not where it is drawn: it is still arriving
  }

  /** Keeps the newest in view, unless the reader has gone back to read. */
  #follow() {
    const box = this.root.parentElement;
    if (this.isAway) return;
    requestAnimationFrame(() => {
      box.scrollTop = Math.max(box.scrollTop, this.#newest());
    });
  }

  /** Earlier turns, put before all others without moving what is being read. */
  prepend(turns) {
    const box = this.root.parentElement;
    const height = box.scrollHeight;
    for (const turn of turns) this.show(turn);
    this.root.prepend(...turns.map((turn) => this.#turns.get(turn)));
    box.scrollTop += box.scrollHeight - height;
  }
}

function said(text) {
  return make("p.said", text);
}

/** The figures of one reply, in one line. */
export function statsInWords(stats) {
  return [
    `${stats.tokens} tokens`,
    `first after ${figure(stats.ttft_ms / 1000)} s`,
    `${figure(stats.tokens_per_s)} tokens/s`,
    dollars(stats.usd),
    `${figure(stats.mwh)} mWh`,
  ].join(" · ");
}

export function dollars(usd) {
  return `$${usd >= 0.01 || usd === 0 ? usd.toFixed(2) : Number(usd.toPrecision(2)).toLocaleString("en", { maximumFractionDigits: 9 })}`;
}

export function figure(value) {
  const rounded = value >= 100 ? Math.round(value) : Number(value.toPrecision(2));
  return rounded.toLocaleString("en", { maximumFractionDigits: 9 });
}
