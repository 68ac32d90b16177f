// The headers of WAV files: RIFF, and RF64 as EBU Tech 3306 has it.

import { FLOATS, frameBytes, kindNamed } from "./samples.js";
import { RATE_HZ } from "./time.js";

// Chunks before the samples; our server's own take up to 94 bytes.
export const MAX_HEADER_BYTES = 4096;
const EXTENSIBLE = 0xfffe; // its sub-format begins with the code that stands for it
const UNKNOWN_BYTES = 0xffffffff; // RF64: see ds64

/** Parse the beginning of a file: how its samples are kept, where they begin, and their bytes. */
export function parseHeader(buffer) {
  const view = new DataView(buffer);
  const name = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (view.byteLength < 12 || !["RIFF", "RF64"].includes(name(0)) || name(8) !== "WAVE") throw new Error("no WAV file");
  let wideBytes = null;
  let format = null;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const bytes = view.getUint32(at + 4, true);
    const body = at + 8;
    if (name(at) === "data") {
      if (format === null) throw new Error("a WAV file whose format comes after its samples");
      return { ...format, dataOffset: body, dataBytes: bytes === UNKNOWN_BYTES ? (wideBytes ?? bytes) : bytes };
    }
    if (name(at) === "ds64") wideBytes = Number(view.getBigUint64(body + 8, true));
    if (name(at) === "fmt ") {
      const code = view.getUint16(body, true);
      format = {
        code: code === EXTENSIBLE ? view.getUint16(body + 24, true) : code,
        channels: view.getUint16(body + 2, true),
        rateHz: view.getUint32(body + 4, true),
        bits: view.getUint16(body + 14, true),
      };
    }
    at = body + bytes + (bytes % 2); // chunks begin at even bytes
  }
  throw new Error("a WAV file whose samples begin too late");
}

/** Return the kind of a stem's samples by its parsed header; undefined where it isn't stereo at the mixer's rate. */
export function kindOfStem({ code, channels, rateHz, bits }) {
  return channels === 2 && rateHz === RATE_HZ ? kindNamed(code, bits) : undefined;
}

/** Build the header of a stereo file of a kind of samples; null where RIFF's 32-bit sizes don't reach. */
export function buildHeader(frames, kind) {
  const blockBytes = frameBytes(kind);
  const dataBytes = frames * blockBytes;
  // What isn't integers says that its format has no extensions, and, in a chunk of its own, how long it is.
  const formatBytes = kind === FLOATS ? 18 : 16;
  const dataAt = 20 + formatBytes + (kind === FLOATS ? 12 : 0);
  const headerBytes = dataAt + 8;
  if (dataBytes + headerBytes - 8 > UNKNOWN_BYTES) return null;
  const view = new DataView(new ArrayBuffer(headerBytes));
  const put = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  put(0, "RIFF");
  view.setUint32(4, dataBytes + headerBytes - 8, true);
  put(8, "WAVEfmt ");
  view.setUint32(16, formatBytes, true);
  view.setUint16(20, kind.code, true);
  view.setUint16(22, 2, true);
  view.setUint32(24, RATE_HZ, true);
  view.setUint32(28, RATE_HZ * blockBytes, true);
  view.setUint16(32, blockBytes, true);
  view.setUint16(34, kind.bits, true);
  if (kind === FLOATS) {
    put(38, "fact");
    view.setUint32(42, 4, true);
    view.setUint32(46, frames, true);
  }
  put(dataAt, "data");
  view.setUint32(dataAt + 4, dataBytes, true);
  return view.buffer;
}
