// Finer peaks than the server's, for what is looked at closely: made of the samples themselves, a chunk after the other.

import { CHUNK_FRAMES } from "./plan.js";
import { finePeaksOf } from "./peaks.js";

// 96 seconds in sight: of songs up to 12 minutes, no more is ever needed; of longer ones, the server's peaks are drawn.
const MOST_CHUNKS = 24;

/** Return the numbers of a window's chunks, from its middle outwards; none of too many. */
export function chunksOf({ start, frames }) {
  const first = Math.floor(start / CHUNK_FRAMES);
  const count = Math.ceil((start + frames) / CHUNK_FRAMES) - first;
  if (count > MOST_CHUNKS) return [];
  const middle = (start + frames / 2) / CHUNK_FRAMES - 0.5;
  const numbers = Array.from({ length: count }, (_, i) => first + i);
  return numbers.sort((one, other) => Math.abs(one - middle) - Math.abs(other - middle));
}

export class CloseUp {
  #waves;
  #read;
  #window = null;
  #isReady = false; // that the server's peaks have come, or never will
  #wanted = [];
  #reading = null; // {number, abort}

  /** `read` returns a promise of a chunk's samples, one array a wave; `ready` is one of the server's peaks. */
  constructor(waves, { read, ready }) {
    this.#waves = waves;
    this.#read = read;
    ready.then(() => {
      this.#isReady = true;
      if (this.#window) this.show(this.#window);
    });
  }

  /** See to it that a window is drawn as sharply as it can be; what was wanted before is no longer read. */
  show(window) {
    this.#window = window;
    if (!this.#isReady) return;
    const isClose = this.#waves.some(({ peaks, columns }) => peaks.needsFine(window.frames / columns));
    this.#wanted = isClose ? chunksOf(window) : [];
    if (this.#reading && !this.#wanted.includes(this.#reading.number)) this.#reading.abort.abort();
    if (!this.#reading) this.#run();
  }

  /** Read no more. */
  close() {
    this.#wanted = [];
    this.#reading?.abort.abort();
  }

  async #run() {
    for (;;) {
      const number = this.#wanted.find((each) => !this.#waves.every(({ peaks }) => peaks.hasFine(each)));
      if (number === undefined) return;
      const abort = new AbortController();
      this.#reading = { number, abort };
      try {
        const sounds = await this.#read(number, abort.signal);
        abort.signal.throwIfAborted();
        this.#waves.forEach(({ peaks }, i) => peaks.setFine(number, finePeaksOf(sounds[i])));
        for (const wave of this.#waves) wave.redraw();
      } catch {
        // What can't be read isn't drawn finer, until somebody looks elsewhere; playing it will say why.
        if (!abort.signal.aborted) this.#wanted = [];
      } finally {
        this.#reading = null;
      }
    }
  }
}
