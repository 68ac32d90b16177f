// Where a stem's samples come from. A source has `frames`, its length, the `kind` of its samples, and
// `read(start, end, signal)`, a promise of the frames from `start` to before `end` as an array of that kind; `end` is at
// most `frames`.

import { bodyOf, persist, Problem, request } from "../http.js";
import { frameBytes, INTEGERS } from "./samples.js";
import { kindOfStem, MAX_HEADER_BYTES, parseHeader } from "./wavfile.js";

/** Read a WAV file where it lies, on the server, range by range. */
export class WavSource {
  #url;
  #offset;

  constructor(url, offset, frames, kind) {
    this.#url = url;
    this.#offset = offset;
    this.frames = frames;
    this.kind = kind;
  }

  /** Learn from the file's first bytes where its samples lie. */
  static async open(url) {
    const { buffer, total } = await fetchRange(url, 0, MAX_HEADER_BYTES);
    let header;
    try {
      header = parseHeader(buffer);
    } catch (error) {
      throw new Problem(`A stem can't be played: it is ${error.message}.`);
    }
    const kind = kindOfStem(header);
    if (!kind) throw new Problem("A stem can't be played: it is no stereo WAV at 44.1 kHz of 16 bits or 32-bit floats.");
    const bytes = Math.min(header.dataBytes, total - header.dataOffset);
    return new WavSource(url, header.dataOffset, Math.floor(bytes / frameBytes(kind)), kind);
  }

  /** Fetch frames. */
  async read(start, end, signal) {
    const first = this.#offset + start * frameBytes(this.kind);
    const past = this.#offset + end * frameBytes(this.kind);
    const { buffer } = await fetchRange(this.#url, first, past, signal);
    if (buffer.byteLength !== past - first) throw new Problem("A stem can't be played: the server sent a part of it.");
    return new this.kind.array(buffer); // little-endian, as every machine with a browser is
  }
}

/** Read 16-bit samples that were decoded beforehand out of a Blob, which the browser may keep on disk. */
export class BlobSource {
  #blob;
  kind = INTEGERS;

  constructor(blob) {
    this.#blob = blob;
    this.frames = blob.size / frameBytes(this.kind);
  }

  /** Read frames. */
  async read(start, end) {
    const bytes = frameBytes(this.kind);
    return new this.kind.array(await this.#blob.slice(start * bytes, end * bytes).arrayBuffer());
  }
}

/** Fetch the bytes from `first` to before `past`; the file may end earlier. `total` is the whole file's size. */
function fetchRange(url, first, past, signal) {
  return persist(
    async () => {
      const headers = { Range: `bytes=${first}-${past - 1}` };
      // Past the browser's cache, which would let the ranges of a file wait for each other, and fill up with them.
      const response = await request(url, { headers, signal, cache: "no-store" });
      const total = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
      if (response.status !== 206 || total === undefined) {
        await response.body?.cancel(); // the whole file is on its way
        throw new Problem("A stem can't be played: the way to the server allows no ranges.");
      }
      return { buffer: await bodyOf(response), total: Number(total) };
    },
    { signal },
  );
}
