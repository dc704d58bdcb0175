// The story as this page knows it: turns, and the rules by which frames become text.
//
// A frame may come twice, late or after a gap, and a reply may be begun again; `Story` turns whatever
// comes into text in which every character stands once. It knows no socket and no page. Characters
// are Unicode code points, not JavaScript's UTF-16 units. The twin of `client/session/story.py`.

export const OPENING = "opening";

const LIVE = new Set(["waiting", "telling"]);
const ENDS = { cancelled: "stopped", error: "failed" };

/** A line of the visitor and the reply to it. `take` 0: no attempt has been heard of yet. */
export class Turn {
  constructor(id, said = "", reply = "", state = "waiting", take = 0) {
    this.id = id;
    this.said = said;
    this.reply = reply;
    this.state = state;
    this.take = take;
    this.length = count(reply); // of the reply, in code points
    this.reason = this.stats = this.answer = this.error = null;
    this.held = new Map(); // frames that came before their turn: at -> text
    this.notes = []; // what the world knows that the storyteller was told with the line
    this.ends = 0;
    this.takes = []; // former attempts that came to an end: {take, said, reply}
    this.kept = false; // a line of the prologue that the story begins with
    this.settled = !this.live; // whether this attempt came to an end
    this.sure = false; // known to be a line of the story: the answer index may still answer one that was just said
    this.since = Date.now(); // when it began to wait
  }

  get live() {
    return LIVE.has(this.state);
  }

  /** How far it has got: unlike before as soon as anything of a new attempt has come. */
  get mark() {
    return `${this.take}/${this.length}/${this.ends}`;
  }

  /** The reply without its choices, and what it offers at its end, one `> ` line each and each of them once. */
  get parts() {
    return partsOf(this.reply, this.state);
  }
}

/** The same of any reply. */
export function partsOf(reply, state) {
  const told = [];
  let choices = [];
  for (const line of reply.split("\n")) {
    const bare = line.trim();
    if (bare.startsWith(">") && state !== "answered") {
      const choice = bare.slice(1).trim();
      if (choice && !choices.includes(choice)) choices.push(choice);
    } else if (bare) {
      told.push(bare);
      choices = []; // offered before the reply was continued
    }
  }
  return { told, choices };
}

/** All turns heard of, oldest first. Each method gives the changes it made: `{kind, turn, text?}`. */
export class Story {
  constructor() {
    this.turns = [];
  }

  get(id) {
    return this.turns.find((turn) => turn.id === id);
  }

  /** The last turn of the story, written answers aside: the only one that can be acted on. */
  get last() {
    return this.turns.findLast((turn) => turn.state !== "answered");
  }

  get live() {
    return this.turns.find((turn) => turn.live);
  }

  /** Whether the prologue is over: a line has been put to the storyteller. */
  get begun() {
    return this.turns.some((turn) => turn.sure && turn.state !== "answered");
  }

  said(id, text) {
    if (this.get(id)) return [];
    const turn = new Turn(id, text);
    turn.sure = id === OPENING;
    this.turns.push(turn);
    return [{ kind: "appeared", turn }];
  }

  /** The answer index has had time to answer this line and has not: it is a line of the story. */
  assure(id) {
    const turn = this.get(id);
    if (!turn || turn.sure || turn.state === "answered") return [];
    turn.sure = true;
    return [{ kind: "altered", turn }];
  }

  forget(id) {
    const turn = this.get(id);
    if (!turn) return [];
    this.turns = this.turns.filter((other) => other !== turn);
    return [{ kind: "removed", turn }];
  }

  token({ to, take, at, text }) {
    const [turn, changes] = this.#find(to);
    if (take < turn.take) return changes;
    if (take > turn.take) changes.push(...this.#begin(turn, take));
    if (at > turn.length) {
      if (text.length > (turn.held.get(at) ?? "").length) turn.held.set(at, text);
      return [...changes, { kind: "gap", turn }];
    }
    return [...changes, ...this.#append(turn, beyond(text, turn.length - at))];
  }

  end({ to, take, reason, stats, notes = [] }) {
    const [turn, changes] = this.#find(to);
    if (take < turn.take) return changes;
    if (take > turn.take) changes.push(...this.#begin(turn, take));
    turn.state = ENDS[reason] ?? "done";
    Object.assign(turn, { reason, stats, notes, ends: turn.ends + 1, settled: true });
    changes.push({ kind: "ended", turn });
    if (turn.held.size) changes.push({ kind: "gap", turn });
    return changes;
  }

  /** The turn will be told again, or go on; `mark` is how it stood when that was asked for. */
  reopened(id, mark, said) {
    const turn = this.get(id);
    if (!turn) return [];
    turn.said = said ?? turn.said;
    if (turn.mark === mark) {
      // else the new attempt has been quicker than its acknowledgement
      Object.assign(turn, { state: "waiting", since: Date.now(), reason: null, stats: null, error: null });
    }
    return [{ kind: "altered", turn }];
  }

  /** The reply is this text now; what it was is a former take. */
  rewritten(id, text) {
    const turn = this.get(id);
    if (!turn) return [];
    const changes = this.#begin(turn, turn.take + 1);
    Object.assign(turn, { reply: text, length: count(text), state: "done", settled: true, notes: [] });
    return [...changes, { kind: "told", turn, text }, { kind: "ended", turn }];
  }

  answered({ to, text, matched, score, saved }) {
    return this.get(to)?.answer ? [] : this.#answer(to, text, { answer: { matched, score, saved } });
  }

  /** The prologue has heard the line `to`: its turn is no turn of the story. */
  putAside({ to, text = "", kept = false }) {
    return this.get(to)?.state === "answered" ? [] : this.#answer(to, text, { kept });
  }

  failed(id, message) {
    const turn = this.get(id);
    if (!turn) return [];
    Object.assign(turn, { state: "failed", reason: "error", error: message });
    return [{ kind: "altered", turn }];
  }

  /** The server says what the recent turns are, and it is right. `unsent(id)`: that line still waits. */
  welcome(views, unsent) {
    const before = this.turns;
    const named = new Set(views.map((view) => view.id));
    const changes = [];
    const first = views.length ? before.findIndex((turn) => turn.id === views[0].id) : -1;
    const order = before.slice(0, Math.max(0, first)).filter((turn) => !named.has(turn.id));
    for (const view of views) {
      const known = before.find((turn) => turn.id === view.id);
      const turn = known ?? new Turn(view.id);
      order.push(turn);
      changes.push(...this.#reconcile(turn, view, !known));
    }
    let previous = null;
    for (const turn of before) {
      if (!named.has(turn.id) && !order.includes(turn)) {
        if (unsent(turn.id)) order.push(turn);
        else if (turn.state === "answered") order.splice(previous ? order.indexOf(previous) + 1 : 0, 0, turn);
        else {
          changes.push({ kind: "removed", turn });
          continue;
        }
      }
      previous = turn;
    }
    this.turns = order;
    return changes;
  }

  /** Older turns, as `history` brings them; gives those that were not there yet. */
  earlier(views) {
    const fresh = views
      .filter((view) => !this.get(view.id))
      .map(({ id, said, reply, state, take }) => Object.assign(new Turn(id, said, reply, state, take), { sure: true }));
    this.turns = [...fresh, ...this.turns];
    return fresh;
  }

  #answer(to, text, more) {
    const known = this.get(to);
    const turn = known ?? new Turn(to);
    if (!known) this.turns.push(turn);
    Object.assign(turn, { reply: text, length: count(text), state: "answered", ...more });
    return [{ kind: known ? "altered" : "appeared", turn }];
  }

  #find(id) {
    const known = this.get(id);
    if (known) {
      known.sure = true;
      return [known, []];
    }
    const turn = new Turn(id);
    turn.sure = true;
    this.turns.push(turn);
    return [turn, [{ kind: "appeared", turn }]];
  }

  #begin(turn, take) {
    const isVoid = turn.take > 0;
    if (turn.settled && turn.reply) turn.takes.push({ take: turn.take, said: turn.said, reply: turn.reply });
    Object.assign(turn, { settled: false, take, reply: "", length: 0, state: "telling", reason: null, stats: null, error: null });
    turn.held.clear();
    return isVoid ? [{ kind: "restarted", turn }] : [];
  }

  #append(turn, fresh) {
    add(turn, fresh);
    for (const at of [...turn.held.keys()].sort((a, b) => a - b)) {
      if (at > turn.length) break;
      const more = beyond(turn.held.get(at), turn.length - at);
      turn.held.delete(at);
      add(turn, more);
      fresh += more;
    }
    if (!fresh) return [];
    if (turn.state === "waiting") turn.state = "telling";
    return [{ kind: "told", turn, text: fresh }];
  }

  #reconcile(turn, { said, reply, state, take, kept = false }, isNew) {
    const was = `${turn.state} ${turn.said}`;
    const wasLive = turn.live;
    const changes = isNew ? [{ kind: "appeared", turn }] : [];
    Object.assign(turn, { said, sure: true, kept });
    if (state === "answered" && turn.state === "answered") return changes;
    if (take < turn.take) return changes; // saved before the attempt already heard of
    if (take > turn.take) changes.push(...this.#begin(turn, take));
    // The reply so far is saved about once a second: while it is being told, this page may be ahead.
    const ahead = turn.reply.startsWith(reply) && turn.reply.length > reply.length && LIVE.has(state);
    if (reply.startsWith(turn.reply)) changes.push(...this.#append(turn, reply.slice(turn.reply.length)));
    else if (!ahead) {
      Object.assign(turn, { reply: "", length: 0 });
      changes.push({ kind: "restarted", turn }, ...this.#append(turn, reply));
    }
    turn.state = ahead ? "telling" : state;
    if (!LIVE.has(state)) {
      turn.held.clear();
      turn.settled = true;
    }
    if (!isNew && wasLive && !turn.live) changes.push({ kind: "ended", turn });
    else if (!isNew && was !== `${turn.state} ${turn.said}`) changes.push({ kind: "altered", turn });
    return changes;
  }
}

/** How many code points a text has. */
export function count(text) {
  let points = 0;
  for (const _ of text) points += 1; // eslint-disable-line no-unused-vars
  return points;
}

function beyond(text, points) {
  return points <= 0 ? text : Array.from(text).slice(points).join("");
}

function add(turn, text) {
  turn.reply += text;
  turn.length += count(text);
}
