// The stories this browser keeps, one record each: how it is called, the session it is played in, the prologue's
// lines as they were shown, the turns with their takes, lines not sent yet, and lines offered again. The server has the turns, too, for
// as long as it keeps the session; the prologue's lines and former takes are kept here alone.

import { storage } from "../storage.js";

const START = "story.";
/** What is said where a story could not be written. */
export const NO_ROOM = "This browser has no room for the story; export it to keep it.";

/** A new record. `prologue` holds {beat, speaker, text}, {asked}, {said} and {turn} in the order they were shown;
 * `offered` the lines, not sent, of a story that the server has forgotten. */
export function newRecord(session, { title = "", world = "" } = {}) {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { id, session, name: "", title, world, at: Date.now(), prologue: [], turns: [], unsent: [], offered: [], draft: "", gone: false };
}

export const stories = {
  areForgotten: false,

  /** All of them, the latest first. */
  all() {
    const records = storage.names(START).map((name) => read(name));
    return records.filter(Boolean).sort((a, b) => b.at - a.at);
  },

  of(session) {
    return session === null ? null : (this.all().find((record) => record.session === session) ?? null);
  },

  /** Keeps this record as it now is, unless all were forgotten. False where the browser has no room for it. */
  write(record) {
    if (this.areForgotten) return true;
    record.at = Date.now();
    return storage.write(START + record.id, JSON.stringify(record));
  },

  remove(record) {
    storage.write(START + record.id, null);
  },

  /** Whoever uses this browser next finds nothing; what this page still writes is not kept. */
  forgetAll() {
    this.areForgotten = true;
    for (const name of [...storage.names(START), "session", "draft"]) storage.write(name, null);
  },
};

/** What a story is called: the name it was given, else its first line, else its title. */
export function nameOf(record) {
  const said = record.turns.find((turn) => turn.said && turn.state !== "answered")?.said ?? "";
  return record.name || (said.length > 40 ? `${said.slice(0, 39)}…` : said) || record.title || "A story";
}

/** The turns as a record keeps them. */
export function plainTurns(turns) {
  return turns.map(({ id, said, reply, state, take, takes }) => ({ id, said, reply, state, take, takes }));
}

/** Gives turns that came from the server the former takes that were kept here. */
export function restoreTakes(turns, record) {
  for (const { id, said, reply, take, takes } of record.turns) {
    const turn = turns.find((other) => other.id === id);
    if (!turn || turn.takes.length || turn.state === "answered") continue;
    turn.takes = [...takes];
    if (take && take < turn.take && reply) turn.takes.push({ take, said, reply }); // it was told again meanwhile
  }
}

function read(name) {
  try {
    const record = { offered: [], ...JSON.parse(storage.read(name)) };
    return typeof record.id === "string" && Array.isArray(record.turns) && Array.isArray(record.prologue) ? record : null;
  } catch {
    return null;
  }
}
