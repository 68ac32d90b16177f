// The headers of WAV files: RIFF, and RF64 as EBU Tech 3306 has it.

import { kindNamed } from "./samples.js";
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
