// What a browser keeps between two visits, one string under each name. Knows nothing of what it means.

/** Private windows may forbid storage: then what is kept lasts as long as its page. */
export class Kept {
  constructor(name) {
    this.name = `overture.${name}`;
    this.value = null;
  }

  read() {
    try {
      return localStorage.getItem(this.name) ?? this.value;
    } catch {
      return this.value;
    }
  }

  write(value) {
    this.value = value;
    try {
      if (value === null) localStorage.removeItem(this.name);
      else localStorage.setItem(this.name, value);
    } catch {
      // kept above
    }
  }
}
