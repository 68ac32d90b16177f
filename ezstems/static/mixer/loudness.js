// How loud a mix is beside the original, by the RMS of what was loaded so far of both, however the stems are mixed.

import { kindOf } from "./samples.js";

const STEP = 31; // one sample in some is enough for a mean; odd, so that both channels are measured
const QUIETEST = 0.01; // -40 dB: a mix of nothing is no measure

/** Keep the mean products of all sources, of which the last is the original: with them any mix's power is known. */
export class Loudness {
  #count;
  #products;
  #seen = new Set();

  constructor(count) {
    this.#count = count;
    this.#products = Array.from({ length: count }, () => new Float64Array(count));
  }

  /** Measure pieces, and for each source its list of their samples; what is played again counts once. */
  add(pieces, sources) {
    pieces.forEach(({ start }, piece) => {
      if (this.#seen.has(start)) return;
      this.#seen.add(start);
      this.#measure(sources.map((parts) => parts[piece]));
    });
  }

  #measure(parts) {
    const scales = parts.map((pcm) => 1 / kindOf(pcm).fullScale);
    for (let one = 0; one < this.#count; one += 1) {
      for (let other = one; other < this.#count; other += 1) {
        const [a, b] = [parts[one], parts[other]];
        let sum = 0;
        for (let i = 0; i < a.length; i += STEP) sum += a[i] * b[i];
        this.#products[one][other] += sum * scales[one] * scales[other];
      }
    }
  }

  #power(gains) {
    let sum = 0;
    for (let one = 0; one < this.#count; one += 1) {
      for (let other = one; other < this.#count; other += 1) {
        sum += (one === other ? 1 : 2) * gains[one] * gains[other] * this.#products[one][other];
      }
    }
    return Math.max(0, sum);
  }

  /** Return the factors, the louder one's below 1, by which a mix of stems and the original are equally loud. */
  factors(gains) {
    const original = this.#power([...gains.map(() => 0), 1]);
    const ratio = Math.sqrt(this.#power([...gains, 0]) / original);
    if (!(ratio > QUIETEST && ratio < 1 / QUIETEST)) return { mix: 1, original: 1 };
    return { mix: Math.min(1, 1 / ratio), original: Math.min(1, ratio) };
  }
}

/** Return chunks that are measured as they are read. */
export function measured(chunks, loudness) {
  return {
    async read(pieces) {
      const sources = await chunks.read(pieces);
      loudness.add(pieces, sources);
      return sources;
    },
    readFew: (start, end) => chunks.readFew(start, end),
    abandon: (frame) => chunks.abandon(frame),
  };
}
