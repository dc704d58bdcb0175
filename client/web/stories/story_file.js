// A story as a file, and as a link. A file to go on with holds the session, which is a key to the story; a link and a
// file to share hold the words alone. docs/clients.md describes the format; the terminal reads and writes it, too.

const VERSION = 1;
/** Longer links are cut by some programs that pass them on. */
const LINK_CHARACTERS = 30_000;

/** The file's text. `withSession`: whoever has the file can go on with the story. */
export function asFile(record, { withSession }) {
  const { name, title, world, session, prologue, turns } = record;
  return `${JSON.stringify({ overture_story: VERSION, name, title, world, session: withSession ? session : null, prologue, turns }, null, 1)}\n`;
}

/** Reads a file. Throws an `Error` whose message is for the visitor. */
export function fromFile(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON, so it is no story; choose one that was exported here.");
  }
  if (file?.overture_story !== VERSION) {
    throw new Error(`The field \`overture_story\` is ${JSON.stringify(file?.overture_story) ?? "missing"} and should be ${VERSION}; choose a file that was exported here.`);
  }
  for (const field of ["name", "title", "world"]) {
    if (typeof file[field] !== "string") throw new Error(`The field \`${field}\` of this file is no text; export the story again.`);
  }
  if (file.session !== null && !/^.{22,128}$/u.test(file.session)) {
    throw new Error("The field `session` of this file is no session; export the story again.");
  }
  const isText = (value) => value === undefined || typeof value === "string";
  const { name, title, world, session, prologue, turns } = file;
  const isEntry = (entry) => typeof entry === "object" && entry !== null && [entry.speaker ?? undefined, entry.text, entry.asked, entry.said, entry.turn].every(isText);
  if (!Array.isArray(prologue) || !prologue.every(isEntry)) throw new Error("The field `prologue` of this file is no list of lines; export the story again.");
  const isTurn = (turn) => turn && ["id", "said", "reply", "state"].every((key) => typeof turn[key] === "string");
  if (!Array.isArray(turns) || !turns.every(isTurn)) throw new Error("The field `turns` of this file is no list of turns; export the story again.");
  const isTake = (take) => take && typeof take.reply === "string" && typeof take.said === "string";
  const withTakes = turns.map(({ id, said, reply, state, take = 1, takes = [] }) => ({ id, said, reply, state, take, takes: takes.filter(isTake) }));
  return { name, title, world, session, prologue, turns: withTakes };
}

/** A link to this page with the whole story in it, after `#`: no server sees that part. */
export async function asLink(record, page) {
  const bare = { ...record, turns: record.turns.map((turn) => ({ ...turn, takes: [] })) };
  const packed = await through(new Blob([asFile(bare, { withSession: false })]), new CompressionStream("deflate-raw"));
  const link = new URL(page);
  link.hash = `story=${encode(new Uint8Array(packed))}`;
  if (link.href.length > LINK_CHARACTERS) throw new Error("This story is too long for a link; share it as a file.");
  return link.href;
}

/** The story in a link's hash; null where there is none. Throws an `Error` whose message is for the visitor. */
export async function fromLink(hash) {
  if (!hash.startsWith("#story=")) return null;
  let text;
  try {
    const packed = Uint8Array.from(atob(hash.slice(7).replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
    text = new TextDecoder().decode(await through(new Blob([packed]), new DecompressionStream("deflate-raw")));
  } catch {
    throw new Error("This link is not whole; ask for it again.");
  }
  return { ...fromFile(text), session: null };
}

function through(blob, transform) {
  return new Response(blob.stream().pipeThrough(transform)).arrayBuffer();
}

function encode(bytes) {
  let signs = "";
  for (const byte of bytes) signs += String.fromCharCode(byte);
  return btoa(signs).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
