// Ask the server; every failure becomes a Problem, whose message is for the reader of the page.

export class Problem extends Error {}
export class SessionEnded extends Problem {}
export class Offline extends Problem {}

export const SESSION_ENDED = "Your session ended. Log in again, then come back to this page.";
export const OFFLINE = "The server can't be reached. Check the connection.";
const GONE = "It is no longer on the server: it has expired or was deleted.";
const TOO_LARGE = "The file is too large for this server."; // as a proxy before it says
const NONSENSE = "The server answered something unexpected. Try again in a minute.";

/** Return the words of an error: those of its body, in the API's shape, or what its status means here. */
export function wordsOf(status, body) {
  if (typeof body?.message === "string" && body.message) return body.message;
  return { 404: GONE, 413: TOO_LARGE }[status] ?? NONSENSE;
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
  throw new Problem(wordsOf(response.status, await response.json().catch(() => null)));
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

/** Wait; an abort ends the wait with an AbortError. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", aborted, { once: true });
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
    await pause(delayMs, signal);
  }
  return attempt();
}
