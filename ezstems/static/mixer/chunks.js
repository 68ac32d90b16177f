// The chunks of all stems, fetched together when they are asked for; the last few are kept.

import { CHUNK_FRAMES } from "./plan.js";

// With five stems 28 MB, of floats twice that, whatever the song's length; a loop of less than half a minute is fetched once.
const KEPT_CHUNKS = 8;

/** Keep the entries that were used last. */
export class Lru {
  #entries = new Map();
  #capacity;

  constructor(capacity) {
    this.#capacity = capacity;
  }

  get(key) {
    const value = this.#entries.get(key);
    if (value !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, value);
    }
    return value;
  }

  set(key, value) {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size > this.#capacity) this.#entries.delete(this.#entries.keys().next().value);
  }

  has(key) {
    return this.#entries.has(key);
  }

  delete(key) {
    this.#entries.delete(key);
  }

  entries() {
    return [...this.#entries];
  }
}

export class Chunks {
  #sources;
  #length;
  #rows = new Lru(KEPT_CHUNKS); // by number: {stems: promise of one array a stem, ready, abort}

  constructor(sources, length) {
    this.#sources = sources;
    this.#length = length;
  }

  /** Return the PCM of pieces that lie in one chunk each: for each stem a list of interleaved arrays. */
  async read(pieces) {
    const rows = await Promise.all(pieces.map(({ start }) => this.#row(Math.floor(start / CHUNK_FRAMES)).stems));
    return this.#sources.map((_, stem) =>
      pieces.map(({ start, end }, number) => {
        const first = start % CHUNK_FRAMES;
        return rows[number][stem].subarray(2 * first, 2 * (first + end - start));
      }),
    );
  }

  /** Return a few frames of every stem, without a whole chunk's being fetched for them. */
  async readFew(start, end) {
    const number = Math.floor(start / CHUNK_FRAMES);
    const isOneChunk = end <= (number + 1) * CHUNK_FRAMES;
    if (isOneChunk && this.#rows.get(number)?.ready) return (await this.read([{ start, end }])).map(([pcm]) => pcm);
    return readAll(this.#sources, start, end);
  }

  /** Return a chunk of the first stems to look at: as it is kept for playing, or on its way; else it isn't kept. */
  async readAside(number, count, signal) {
    const kept = await this.#rows.get(number)?.stems.catch(() => null); // somebody jumped elsewhere
    if (kept) return kept.slice(0, count);
    const start = number * CHUNK_FRAMES;
    return readAll(this.#sources.slice(0, count), start, Math.min(this.#length, start + CHUNK_FRAMES), signal);
  }

  /** Stop fetching, but for the chunk that holds a frame: somebody jumped there. */
  abandon(frame = null) {
    const kept = frame === null ? null : Math.floor(frame / CHUNK_FRAMES);
    for (const [number, row] of this.#rows.entries()) {
      if (!row.ready && number !== kept) {
        this.#rows.delete(number);
        row.abort.abort();
      }
    }
  }

  #row(number) {
    let row = this.#rows.get(number);
    if (row === undefined) {
      row = { ready: false, abort: new AbortController(), stems: null };
      const start = number * CHUNK_FRAMES;
      const end = Math.min(this.#length, start + CHUNK_FRAMES);
      row.stems = readAll(this.#sources, start, end, row.abort.signal);
      this.#rows.set(number, row);
      row.stems.then(
        () => (row.ready = true),
        // The next who asks tries again; who was abandoned may have a successor already.
        () => this.#rows.get(number) === row && this.#rows.delete(number),
      );
    }
    return row;
  }
}

/** Read the same frames of every source; one that ends earlier is silent from there. */
export function readAll(sources, start, end, signal) {
  return Promise.all(
    sources.map(async (source) => {
      const pcm = start < source.frames ? await source.read(start, Math.min(end, source.frames), signal) : null;
      if (pcm?.length === 2 * (end - start)) return pcm;
      const padded = new source.kind.array(2 * (end - start));
      if (pcm) padded.set(pcm);
      return padded;
    }),
  );
}
