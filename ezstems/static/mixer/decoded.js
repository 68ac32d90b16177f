// Compressed stems: fetched whole, decoded by the browser, kept as 16-bit PCM in a Blob.

import { Offline, OFFLINE, persist, Problem, request } from "../http.js";
import { BlobSource } from "./pcm.js";
import { RATE_HZ } from "./time.js";

const PART_FRAMES = 10 * RATE_HZ;

/** Fetch and decode a stem; `tell` gets the fraction that has arrived, then null while it is decoded. */
export async function decodeStem(url, tell) {
  const compressed = await persist(() => fetchWhole(url, tell));
  tell(null);
  let audio;
  try {
    // Ten minutes are 200 MB as floats: they live no longer than it takes to make a quarter of it of them.
    audio = await new OfflineAudioContext(2, 1, RATE_HZ).decodeAudioData(compressed);
  } catch {
    throw new Problem("This browser can't decode the stems. Download them, or separate the song to WAV.");
  }
  return new BlobSource(await blobOf(audio));
}

/** Fetch a file, telling how far it is. */
async function fetchWhole(url, tell) {
  const response = await request(url);
  const total = Number(response.headers.get("Content-Length"));
  const parts = [];
  let bytes = 0;
  try {
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      bytes += value.length;
      tell(total ? bytes / total : null);
    }
  } catch {
    throw new Offline(OFFLINE);
  }
  return new Blob(parts).arrayBuffer();
}

/** Copy an AudioBuffer into a Blob, letting the page breathe in between. */
async function blobOf(audio) {
  const left = audio.getChannelData(0);
  const right = audio.getChannelData(audio.numberOfChannels > 1 ? 1 : 0);
  const parts = [];
  for (let start = 0; start < audio.length; start += PART_FRAMES) {
    const end = Math.min(audio.length, start + PART_FRAMES);
    parts.push(new Blob([interleave(left.subarray(start, end), right.subarray(start, end))]));
    await breathe();
  }
  return new Blob(parts);
}

/** Round two channels of floats to interleaved 16 bits; what is above full scale is clipped. */
export function interleave(left, right) {
  const pcm = new Int16Array(2 * left.length);
  for (let frame = 0; frame < left.length; frame += 1) {
    pcm[2 * frame] = sample(left[frame]);
    pcm[2 * frame + 1] = sample(right[frame]);
  }
  return pcm;
}

/** Round a float to 16 bits, clipping what is above full scale. */
export function sample(value) {
  return Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
}

/** Let whatever else waits run; unlike a timer's, a message's turn comes at once in a hidden page too. */
function breathe() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
