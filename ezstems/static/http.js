// Ask the server; every failure becomes a Problem, whose message is for the reader of the page.

export class Problem extends Error {}
export class SessionEnded extends Problem {}
export class Offline extends Problem {}
export class Refused extends Problem {} // however often the same file is sent

export const SESSION_ENDED = "Your session ended. Log in again, then come back to this page.";
export const OFFLINE = "The server can't be reached. Check the connection.";
export const NOT_READY = "The server can't be reached just now: it is being started, or has too much to do.";
const GATEWAY_STATUSES = [502, 503, 504]; // a proxy's, for a server that doesn't answer it
const GONE = "It is no longer on the server: it has expired or was deleted.";
const TOO_LARGE = "The file is too large for this server."; // as a proxy before it says
const REFUSALS = ["Invalid audio file", "File too large"]; // as the API names its errors
const NONSENSE = "The server answered something unexpected. Try again in a minute.";

/** Return the words of an error: those of its body, in the API's shape, or what its status means here. */
function wordsOf(status, body) {
  if (typeof body?.message === "string" && body.message) return body.message;
  return { 404: GONE, 413: TOO_LARGE }[status] ?? NONSENSE;
}

/** Return the Problem that an answer is: Refused where it is the file itself that won't do. */
export function problemOf(status, body) {
  const isFinal = status === 413 || REFUSALS.includes(body?.error);
  return new (isFinal ? Refused : Problem)(wordsOf(status, body));
}

/** Fetch; return an answer that is fine, throw a Problem for any other. An abort stays an AbortError. */
export async function request(url, { headers = {}, ...options } = {}) {
  let response;
  try {
    // A session that ended redirects to the login, which must not be taken for the answer.
    const accepting = { Accept: "application/json", ...headers };
    response = await fetch(url, { redirect: "manual", headers: accepting, ...options });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Offline(OFFLINE);
  }
  if (response.ok) return response;
  if (response.type === "opaqueredirect" || response.status === 401) throw new SessionEnded(SESSION_ENDED);
  if (GATEWAY_STATUSES.includes(response.status)) throw new Offline(NOT_READY);
  throw problemOf(response.status, await response.json().catch(() => null));
}

/** Read what is left of an answer's body; a connection that breaks on the way is a Problem too. */
export async function bodyOf(response) {
  try {
    return await response.arrayBuffer();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Offline(OFFLINE);
  }
}

/** Fetch JSON of the API's shape; return its `data`. */
export async function askJson(url, options) {
  const response = await request(url, options);
  const body = await response.json().catch(() => null);
  if (body?.success !== true) throw new Problem(NONSENSE);
  return body.data;
}

/** Wait, but no longer than until the browser says that it has a connection again; an abort is an AbortError. */
function reconnection(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const over = new AbortController();
    const end = (settle) => () => {
      clearTimeout(timer);
      over.abort();
      settle(signal?.reason);
    };
    const timer = setTimeout(end(resolve), milliseconds);
    signal?.addEventListener("abort", end(reject), { signal: over.signal });
    globalThis.addEventListener?.("online", end(resolve), { signal: over.signal });
  });
}

/** Try again while the server can't be reached, after each of some delays; anything else fails at once. */
export async function persist(attempt, { delaysMs = [500, 1000, 2000, 4000], signal } = {}) {
  for (const delayMs of delaysMs) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Offline)) throw error;
    }
    await reconnection(delayMs, signal);
  }
  return attempt();
}

/** Try again for as long as the server can't be reached and it goes on; `tell` gets each Problem that this brings. */
export async function outlast(attempt, { tell, goesOn = () => true, delayMs = 2000 }) {
  for (;;) {
    try {
      return await attempt();
    } catch (problem) {
      if (!(problem instanceof Offline) || !goesOn()) throw problem;
      tell(problem);
      await reconnection(delayMs);
      if (!goesOn()) throw problem;
    }
  }
}
