// The Keep panel: this story to save, share and name; the other stories of this browser to open; a file to read.

import { byId, make, setText } from "../dom.js";
import { asElements, asMarkdown, asPage, hand } from "./export.js";
import { NO_ROOM, nameOf, newRecord, stories } from "./stories.js";
import { asFile, asLink, fromFile, fromLink } from "./story_file.js";

export class Keeping {
  /** `current()` is the record of the story that is played; `goTo(record)` plays another. */
  constructor({ current, goTo }) {
    Object.assign(this, { current, goTo });
    const offers = {
      "keep-markdown": () => this.#hand("md", "text/markdown", asMarkdown),
      "keep-page": () => this.#hand("html", "text/html", asPage),
      "keep-copy": async () => {
        await navigator.clipboard.writeText(asMarkdown(current()));
        return "Copied.";
      },
      "keep-share": async () => {
        await navigator.share({ title: current().title, text: asMarkdown(current()) });
      },
      "keep-link": async () => {
        await navigator.clipboard.writeText(await asLink(current(), document.baseURI));
        return "The link is copied. It holds the whole story: whoever has it can read, and not go on.";
      },
      "keep-shared-file": () => this.#hand("shared.json", "application/json", (record) => asFile(record, { withSession: false })),
      "keep-file": () => {
        this.#hand("json", "application/json", (record) => asFile(record, { withSession: true }));
        return "Whoever has this file can go on with the story: keep it to yourself.";
      },
    };
    byId("keep-share").hidden = !navigator.share;
    for (const [id, keep] of Object.entries(offers)) {
      byId(id).addEventListener("click", async () => {
        try {
          this.#say((await keep()) ?? "");
        } catch (error) {
          if (error.name === "AbortError") return;
          this.#say(error.name === "Error" ? error.message : "This browser did not allow that; save it as a file instead.");
        }
      });
    }
    byId("story-name").addEventListener("change", () => {
      const record = current();
      record.name = byId("story-name").value.trim();
      if (!stories.write(record)) this.#say(NO_ROOM);
    });
    byId("story-open").addEventListener("change", () => this.#openFile());
  }

  /** Draws the panel for the story that is played now. */
  show() {
    const record = this.current();
    this.#say("");
    byId("story-name").value = record.name;
    byId("story-name").placeholder = nameOf(record);
    const others = stories.all().filter(({ id }) => id !== record.id);
    byId("stories").replaceChildren(...(others.length ? others.map((other) => this.#row(other)) : [make("li", "No other story is kept in this browser yet.")]));
  }

  /** Shows a story to read, and offers to go on with it where its session came with it. */
  read(story) {
    setText(byId("reader-title"), story.name || story.title || "A story");
    byId("reader-body").replaceChildren(...asElements(story));
    const again = byId("reader-go-on");
    again.hidden = !story.session;
    again.onclick = () => {
      byId("reader").close();
      this.goTo(stories.of(story.session) ?? this.#add(story));
    };
    byId("keep").close();
    if (!byId("reader").open) byId("reader").showModal();
    byId("reader").scrollTop = 0;
  }

  /** Shows the story that a link brought, if one did. */
  async readLink() {
    try {
      const story = await fromLink(location.hash);
      if (story) this.read(story);
    } catch (error) {
      this.read({ title: error.message, prologue: [], turns: [], session: null });
    }
    if (location.hash.startsWith("#story=")) history.replaceState(history.state, "", location.pathname + location.search);
  }

  #add(story) {
    const record = { ...newRecord(story.session), ...story };
    stories.write(record);
    return record;
  }

  #row(record) {
    const name = nameOf(record);
    const when = new Date(record.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const open = make("button", record.gone ? "Read" : "Open", { type: "button", "aria-label": `${record.gone ? "Read" : "Open"} ${name}` });
    open.addEventListener("click", () => (record.gone ? this.read({ ...record, session: null }) : (byId("keep").close(), this.goTo(record))));
    const forget = make("button.quiet", "Forget", { type: "button", "aria-label": `Forget ${name}` });
    forget.addEventListener("click", () => {
      if (forget.textContent !== "Forget") {
        stories.remove(record);
        this.show();
      } else setText(forget, "Forget for good?");
    });
    return make("li", [make("span", name, { dir: "auto" }), make("span.small", record.gone ? `${when}, to read only` : when), open, forget]);
  }

  async #openFile() {
    const [file] = byId("story-open").files;
    if (!file) return;
    try {
      this.read(fromFile(await file.text()));
    } catch (error) {
      this.#say(error.message);
    }
    byId("story-open").value = "";
  }

  #hand(ending, kind, write) {
    const record = this.current();
    const called = (record.name || record.title).toLowerCase().replace(/^the /, "");
    hand(`${called.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "story"}.${ending}`, kind, write(record));
  }

  #say(words) {
    setText(byId("keep-said"), words);
  }
}
