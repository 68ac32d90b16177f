// WAV files' headers, as our server writes them.

import { FLOATS, frameBytes } from "../../ezstems/static/mixer/samples.js";
import { RATE_HZ } from "../../ezstems/static/mixer/time.js";

const MOST_BYTES = 0xffffffff;

/** Build the header of a stereo file of a kind of samples; null where RIFF's 32-bit sizes don't reach. */
export function buildHeader(frames, kind) {
  const blockBytes = frameBytes(kind);
  const dataBytes = frames * blockBytes;
  // What isn't integers says that its format has no extensions, and, in a chunk of its own, how long it is.
  const formatBytes = kind === FLOATS ? 18 : 16;
  const dataAt = 20 + formatBytes + (kind === FLOATS ? 12 : 0);
  const headerBytes = dataAt + 8;
  if (dataBytes + headerBytes - 8 > MOST_BYTES) return null;
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
