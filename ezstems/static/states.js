// What the server says of songs that are under way: asked once a second while there is any, put into words.

import { askJson, SessionEnded } from "./http.js";

const EVERY_MS = 1000;
const MAX_WAIT_MS = 15_000;
const MAX_ANSWER_MS = 20_000;

/** Tell whether a song's state will still change. */
export function isActive(item) {
  return item.status === "queued" || item.status === "processing";
}

/** Put a song's state into words. */
export function stateText({ status, queue_position: position, progress, error }) {
  if (status === "queued") return `Waiting: ${position > 1 ? `number ${position}` : "next"} in the queue`;
  if (status === "processing") return `Separating: ${progress ?? 0} %`;
  if (status === "failed") return error || "The separation failed.";
  return "Done";
}

/** Put a state into few enough words to be read aloud: the same text for a quarter of the way. */
export function spokenText(item) {
  if (item.status !== "processing") return stateText(item);
  const quarter = Math.floor((item.progress ?? 0) / 25) * 25;
  return quarter ? `Separating: ${quarter} %` : "Separating";
}

/** Poll the account's songs while one of them is active, and through lost connections. */
export class Watcher {
  #url;
  #show;
  #tell;
  #goesOn;
  #sleep;
  #running = null;
  #again = false;

  /** `show` gets every list of states, `tell` a Problem or, after an answer, null. */
  constructor(url, { show, tell, goesOn = (items) => items.some(isActive), sleep = sleepMs }) {
    this.#url = url;
    this.#show = show;
    this.#tell = tell;
    this.#goesOn = goesOn;
    this.#sleep = sleep;
  }

  /** Poll now and as long as it makes sense; return when it no longer does. */
  start() {
    // A song may come after the last answer was asked for: that answer then isn't the last one.
    this.#again = true;
    this.#running ??= this.#run().finally(() => (this.#running = null));
    return this.#running;
  }

  async #run() {
    for (let failures = 0; ; ) {
      const items = await this.#ask();
      if (items === null) return;
      failures = items ? 0 : failures + 1;
      if (items) {
        this.#show(items);
        if (!this.#goesOn(items) && !this.#again) return;
      }
      await this.#sleep(Math.min(MAX_WAIT_MS, EVERY_MS * 2 ** failures));
    }
  }

  /** Return the states; undefined when it's worth asking again, null when it isn't. */
  async #ask() {
    this.#again = false;
    try {
      const items = await askJson(this.#url, { signal: AbortSignal.timeout(MAX_ANSWER_MS) });
      this.#tell(null);
      return items;
    } catch (problem) {
      this.#tell(problem);
      return problem instanceof SessionEnded ? null : undefined;
    }
  }
}

function sleepMs(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
