// What a browser keeps between two visits, one string under each name. Private windows may forbid storage, and a
// browser may have no room: then what is kept lasts as long as its page.

const PREFIX = "overture.";
const inMemory = new Map();
/** What the browser would not keep: what it has under these names is older than what is in memory. */
const refused = new Set();

export const storage = {
  read(name) {
    if (refused.has(name)) return inMemory.get(name) ?? null;
    try {
      return localStorage.getItem(PREFIX + name) ?? inMemory.get(name) ?? null;
    } catch {
      return inMemory.get(name) ?? null;
    }
  },

  /** Gives false where the browser keeps it no longer than this page. */
  write(name, value) {
    if (value === null) inMemory.delete(name);
    else inMemory.set(name, value);
    try {
      if (value === null) localStorage.removeItem(PREFIX + name);
      else localStorage.setItem(PREFIX + name, value);
      refused.delete(name);
      return true;
    } catch {
      refused.add(name);
      return false;
    }
  },

  /** The names that begin like this. */
  names(start) {
    const names = new Set(inMemory.keys());
    try {
      for (const key of Object.keys(localStorage)) if (key.startsWith(PREFIX)) names.add(key.slice(PREFIX.length));
    } catch {
      // those in memory are all
    }
    return [...names].filter((name) => name.startsWith(start));
  },
};

/** One name of the storage. */
export class Stored {
  constructor(name) {
    this.name = name;
  }

  read() {
    return storage.read(this.name);
  }

  write(value) {
    return storage.write(this.name, value);
  }
}
