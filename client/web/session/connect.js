// The way in: from the page's address to a socket's, with a ticket that opens it once. The twin of
// `client/session/connect.py`. 

/** There is no way in just now; the message says why. */
export class ConnectError extends Error {}

/** The socket's address with a new ticket in it. `timeouts` is in milliseconds. Throws `ConnectError` or `SignInError`. */
export async function findSocket(page, { protocol, timeouts }) {
  const config = await ask(new URL("config.json", page), {}, timeouts);
  if (config.protocol !== protocol) {
    throw new ConnectError(`The server speaks protocol ${config.protocol} and this page ${protocol}: reload the page.`);
  }
  const issued = await askTicket(new URL(config.ticket, page), config.members, page, timeouts);
  const socket = new URL(config.socket);
  socket.searchParams.set("ticket", issued.ticket);
  return socket;
}

async function askTicket(url, members, page, timeouts) {
  const asked = { method: "POST", body: "{}" };
  if (!members) return ask(url, asked, timeouts);
  const signIn = await import("./sign_in.js");
  try {
    return await ask(url, { ...asked, headers: await signIn.headers(members, page) }, timeouts);
  } catch (error) {
    if (error.status === 401) signIn.refused();
    if (error instanceof ConnectError || error instanceof signIn.SignInError) throw error;
    throw new ConnectError("The members' list does not answer.");
  }
}

async function ask(url, options, timeouts) {
  let response;
  try {
    const signal = AbortSignal.timeout(timeouts);
    response = await fetch(url, { ...options, cache: "no-store", credentials: "omit", signal });
  } catch {
    throw new ConnectError(navigator.onLine ? "The server does not answer." : "This device is offline.");
  }
  if (response.status === 401) throw Object.assign(new ConnectError("The server asks you to sign in."), { status: 401 });
  if (response.status === 403) throw new ConnectError("The server gives no tickets to this address; use its own.");
  if (response.status === 429) throw new ConnectError("Too many visitors came at once.");
  if (!response.ok) throw new ConnectError(`The server answered ${response.status}.`);
  try {
    return await response.json();
  } catch {
    throw new ConnectError("The server answered something that cannot be read.");
  }
}

/** Why the connection ended, as far as its close code, age and idle time tell. */
export function explainClose(code, ageMs, idleMs) {
  if (code === 1009) return "That was too large to send: a message may have 128 KB at most. It was not delivered.";
  if (code === 1003) return "That was not text, and only text can be sent. It was not delivered.";
  if (ageMs > (2 * 3600 - 60) * 1000) return "A connection may last two hours, and this one did.";
  if (idleMs > 570_000) return "The connection was idle for ten minutes and was closed.";
  if (code === 1001) return "The server closed the connection.";
  return "The connection was lost.";
}
