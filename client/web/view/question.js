// A question of the prologue as a form: its choices, a reply in one's own words, and a way past it.

import { make, setText } from "../dom.js";

export class Question {
  /** `onReply(text)` gives whether the reply was sent; `onPass()` leaves the question unanswered. */
  constructor(beat, { onReply, onPass }) {
    this.beat = beat;
    const { ask } = beat;
    this.input = make("input", null, { type: "text", maxlength: 200, autocomplete: "off", dir: "auto", "aria-label": "Your reply" });
    this.problem = make("p.problem", "", { role: "alert" });
    const send = (text) => {
      setText(this.problem, "");
      if (onReply(text)) this.wait();
    };
    this.form = make("form.question", [
      make("fieldset", [
        make("legend", ask.text, { dir: "auto" }),
        make("div.choices", (ask.choices ?? []).map((choice) => make("button", choice, { type: "button", dir: "auto", onclick: () => send(choice) }))),
        make("div.row", [
          this.input,
          make("button", "Reply", { type: "submit" }),
          make("button.quiet", "Pass", { type: "button", onclick: onPass, title: "Leave the question unanswered" }),
        ]),
        this.problem,
      ]),
    ]);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.input.value.trim()) send(this.input.value.trim());
      else this.input.focus();
    });
  }

  /** A reply is on its way. */
  wait() {
    this.form.firstElementChild.disabled = true;
  }

  /** What was said was no reply: the question stands as it was. */
  goOn() {
    this.form.firstElementChild.disabled = false;
    if (!this.input.value) return; // it was said elsewhere
    this.input.value = "";
    this.input.focus();
  }

  /** The reply was refused: the question stands, with the reason. */
  refuse(message) {
    this.form.firstElementChild.disabled = false;
    setText(this.problem, message);
    this.input.focus();
  }
}
