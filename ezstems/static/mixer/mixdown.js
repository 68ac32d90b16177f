// Render the present mix into a WAV file, a chunk at a time.

import { Problem } from "../http.js";
import { readAll } from "./chunks.js";
import { CHUNK_FRAMES } from "./plan.js";
import { INTEGERS, kindOf } from "./samples.js";
import { buildHeader } from "./wavfile.js";

/** Add stems up, each times its factor: integers are clipped as the stems themselves were, and counted, floats never. */
export function mix(stems, gains) {
  const sums = new Float64Array(stems[0].length);
  stems.forEach((pcm, number) => {
    const gain = gains[number];
    for (let i = 0; gain && i < pcm.length; i += 1) sums[i] += gain * pcm[i];
  });
  if (kindOf(stems[0]) !== INTEGERS) return { mixed: Float32Array.from(sums), clipped: 0 };
  const mixed = new Int16Array(sums.length);
  let clipped = 0;
  for (let i = 0; i < sums.length; i += 1) {
    const value = Math.round(sums[i]);
    mixed[i] = Math.max(-32768, Math.min(32767, value));
    // Full scale itself, for which integers have no number, is round-off, as it is in the stems.
    if (Math.abs(value) > INTEGERS.fullScale) clipped += 1;
  }
  return { mixed, clipped };
}

/** Mix sources, all of one kind, down to a file of that kind; return it as a Blob, and how many samples were clipped. */
export async function mixdown(sources, gains, length, { tell, signal }) {
  if (!gains.some(Boolean)) throw new Problem("Every stem is silent: there is nothing to mix.");
  // Silent stems aren't fetched, and of one that plays a preview what that is of.
  const heard = [];
  for (const source of sources.filter((_, number) => gains[number])) heard.push((await source.exact?.()) ?? source);
  const header = buildHeader(length, heard[0].kind);
  if (header === null) throw new Problem("The mix would be over 4 GB, more than a WAV file holds.");
  const factors = gains.filter(Boolean);
  const parts = [header];
  let clipped = 0;
  for (let start = 0; start < length; start += CHUNK_FRAMES) {
    const end = Math.min(length, start + CHUNK_FRAMES);
    const part = mix(await readAll(heard, start, end, signal), factors);
    signal.throwIfAborted();
    // Each part a Blob of its own: the browser may write it to disk, an array it must hold.
    parts.push(new Blob([part.mixed]));
    clipped += part.clipped;
    tell(end / length);
  }
  return { blob: new Blob(parts, { type: "audio/wav" }), clipped };
}
