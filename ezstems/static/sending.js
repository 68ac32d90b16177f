// Send one file to the server, with its progress: fetch doesn't tell how much of a body is sent, XMLHttpRequest does.

import { Offline, problemOf, SESSION_ENDED, SessionEnded } from "./http.js";

const LOST = "The connection broke while the file was sent.";

/** Send a form; return the answer's `data`, or throw a Problem; an abort of `signal` is an AbortError. */
export function send(url, form, { token, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const exchange = new XMLHttpRequest();
    exchange.open("POST", url);
    exchange.setRequestHeader("Accept", "application/json");
    exchange.setRequestHeader("X-CSRFToken", token);
    exchange.upload.addEventListener("progress", ({ loaded, total }) => onProgress(total ? loaded / total : 0));
    exchange.addEventListener("load", () => {
      try {
        resolve(outcome(exchange.status, exchange.responseText));
      } catch (problem) {
        reject(problem);
      }
    });
    exchange.addEventListener("error", () => reject(new Offline(LOST)));
    exchange.addEventListener("abort", () => reject(signal.reason));
    signal.addEventListener("abort", () => exchange.abort());
    exchange.send(form);
  });
}

/** Return the `data` of an answer, or throw the Problem that it is. */
export function outcome(status, text) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A page in JSON's place: below.
  }
  if (status === 200 && body?.success === true) return body.data;
  // After a redirect the login page has arrived, which is no JSON.
  if (status === 401 || (status === 200 && body === null)) throw new SessionEnded(SESSION_ENDED);
  throw problemOf(status, body);
}
