// Waveform peaks of a stem: the server's, of the whole song, and finer ones, of the chunks that were looked at closely;
// and as a canvas of some width draws a part of them.

import { Lru } from "./chunks.js";
import { CHUNK_FRAMES } from "./plan.js";
import { kindOf } from "./samples.js";

export const FINE_FRAMES = 48; // under a fine peak; a chunk is a whole number of them
const KEPT_CHUNKS = 256; // 0.9 MB of a stem
const FULL_SCALE = 255;

/** Decode base64 of one byte a peak. */
export function decodePeaks(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Measure interleaved samples: the highest absolute one of every few frames, a byte each, as the server does. */
export function finePeaksOf(pcm) {
  const { fullScale } = kindOf(pcm);
  const peaks = new Uint8Array(Math.ceil(pcm.length / 2 / FINE_FRAMES));
  for (let i = 0; i < peaks.length; i += 1) {
    const end = Math.min(pcm.length, 2 * FINE_FRAMES * (i + 1));
    let highest = 0;
    for (let at = 2 * FINE_FRAMES * i; at < end; at += 1) {
      const value = Math.abs(pcm[at]);
      if (value > highest) highest = value;
    }
    peaks[i] = Math.min(FULL_SCALE, Math.round((highest * FULL_SCALE) / fullScale));
  }
  return peaks;
}

export class StemPeaks {
  #coarse = new Uint8Array(); // none: a flat line
  #coarseFrames = Infinity; // under each
  #fine = new Lru(KEPT_CHUNKS); // by the chunk's number

  /** Take the server's peaks of so many frames each. */
  setCoarse(peaks, frames) {
    [this.#coarse, this.#coarseFrames] = [peaks, frames];
  }

  /** Take the fine peaks of a chunk. */
  setFine(number, peaks) {
    this.#fine.set(number, peaks);
  }

  hasFine(number) {
    return this.#fine.has(number);
  }

  /** Tell whether columns of so many frames show more than the server's peaks tell. */
  needsFine(frames) {
    return frames < this.#coarseFrames;
  }

  /** Return the loudest peak, 0 to 1, of each of some columns of so many frames; the first begins at a frame. */
  columns(start, frames, count) {
    return Float32Array.from({ length: count }, (_, column) => {
      const from = start + column * frames;
      return this.#highest(from, from + frames, this.needsFine(frames)) / FULL_SCALE;
    });
  }

  #highest(from, to, isFine) {
    if (!isFine) return highestIn(this.#coarse, from / this.#coarseFrames, to / this.#coarseFrames);
    let highest = 0;
    for (let at = from; at < to; ) {
      const number = Math.floor(at / CHUNK_FRAMES);
      const first = number * CHUNK_FRAMES;
      const end = Math.min(to, first + CHUNK_FRAMES);
      const fine = this.#fine.get(number);
      // Until the fine ones are there, the others are as true, if less sharp.
      const found = fine
        ? highestIn(fine, (at - first) / FINE_FRAMES, (end - first) / FINE_FRAMES)
        : highestIn(this.#coarse, at / this.#coarseFrames, end / this.#coarseFrames);
      highest = Math.max(highest, found);
      at = end;
    }
    return highest;
  }
}

/** Return the highest of the peaks from one place to another, which may be fractions: one at least, none twice. */
function highestIn(peaks, from, to) {
  const first = Math.floor(from);
  const past = Math.min(peaks.length, Math.max(first + 1, Math.floor(to)));
  let highest = 0;
  for (let i = first; i < past; i += 1) if (peaks[i] > highest) highest = peaks[i];
  return highest;
}
