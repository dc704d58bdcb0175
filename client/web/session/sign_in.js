// Signing in, for a deployment that lets members in only: loaded when config.json has `members`, {at, client}.
//
// The authorization-code flow with PKCE at the user pool's own pages: a password is never seen here. Tokens stay
// in this tab. It gives the header that a ticket is asked for with; 

import { make } from "../dom.js";
import { stories } from "../stories/stories.js";

const MEMBER = "overture.member"; // {access, refresh, until, since}
const ERRAND = "overture.sign-in"; // {state, verifier} while the visitor is at the pool's pages
const EARLY_MS = 60_000;

/** A failure of signing in; trying again by itself would only send the visitor round in circles. */
export class SignInError extends Error {
  name = "SignInError";
}

let members = null;

/** The header to ask for a ticket with. Leaves the page for the pool's where nobody has signed in; then never returns. */
export async function headers(asked, page) {
  members ??= new Members(asked, page);
  return { authorization: `Bearer ${await members.access()}` };
}

/** The server did not take the token. Raises `SignInError` where it was a new one. */
export function refused() {
  members.refused();
}

class Members {
  constructor({ at, client }, page) {
    this.at = at;
    this.client = client;
    this.home = new URL(".", page).href;
    const button = make("button.quiet", "Sign out", { type: "button", onclick: () => this.#signOut() });
    document.querySelector(".tools").append(button);
  }

  async access() {
    const given = new URLSearchParams(location.search);
    if (given.has("state")) {
      history.replaceState(null, "", location.pathname);
      await this.#returned(given);
    }
    const member = read(MEMBER);
    if (member && Date.now() < member.until - EARLY_MS) return member.access;
    if (member?.refresh && (await this.#ask({ grant_type: "refresh_token", refresh_token: member.refresh }))) {
      return read(MEMBER).access;
    }
    return this.#leave();
  }

  refused() {
    const member = read(MEMBER);
    if (member && Date.now() < member.since + EARLY_MS) {
      throw new SignInError("You are signed in, but this deployment does not let you in; its owner can say why.");
    }
    if (member) write(MEMBER, { ...member, until: 0 });
  }

  async #returned(given) {
    const errand = read(ERRAND);
    write(ERRAND, null);
    if (given.has("error")) throw new SignInError(`You were not signed in: ${given.get("error_description") ?? given.get("error")}.`);
    // Not the answer to a question of this tab: whoever made that link is not to choose who is signed in.
    if (!errand || errand.state !== given.get("state")) return;
    const asked = { grant_type: "authorization_code", code: given.get("code"), redirect_uri: this.home, code_verifier: errand.verifier };
    if (!(await this.#ask(asked))) throw new SignInError("You were not signed in: the pool did not take its own code.");
  }

  /** Asks for tokens and keeps them; false where the pool refuses. */
  async #ask(fields) {
    const response = await this.#post("token", fields);
    if (response.status >= 500) throw new Error(`The pool answered ${response.status}.`);
    if (!response.ok) {
      write(MEMBER, null);
      return false;
    }
    const { access_token: access, refresh_token, expires_in } = await response.json();
    const refresh = refresh_token ?? fields.refresh_token; // only a sign-in brings a new one
    write(MEMBER, { access, refresh, until: Date.now() + expires_in * 1000, since: Date.now() });
    return true;
  }

  async #post(path, fields) {
    const body = new URLSearchParams({ client_id: this.client, ...fields });
    const signal = AbortSignal.timeout(10_000);
    return fetch(`${this.at}/oauth2/${path}`, { method: "POST", body, cache: "no-store", credentials: "omit", signal });
  }

  async #leave() {
    const verifier = random(32);
    const hashed = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    const state = random(16);
    write(ERRAND, { state, verifier });
    const asked = {
      response_type: "code",
      client_id: this.client,
      redirect_uri: this.home,
      scope: "openid",
      state,
      code_challenge: encode(new Uint8Array(hashed)),
      code_challenge_method: "S256",
    };
    location.assign(`${this.at}/oauth2/authorize?${new URLSearchParams(asked)}`);
    return new Promise(() => {}); // the page is being left
  }

  async #signOut() {
    const token = read(MEMBER)?.refresh;
    write(MEMBER, null);
    stories.forgetAll();
    if (token) await this.#post("revoke", { token }).catch(() => {}); // it ends by itself, too
    location.assign(`${this.at}/logout?${new URLSearchParams({ client_id: this.client, logout_uri: this.home })}`);
  }
}

function read(name) {
  return JSON.parse(sessionStorage.getItem(name));
}

function write(name, value) {
  if (value === null) sessionStorage.removeItem(name);
  else sessionStorage.setItem(name, JSON.stringify(value));
}

function random(bytes) {
  return encode(crypto.getRandomValues(new Uint8Array(bytes)));
}

function encode(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
