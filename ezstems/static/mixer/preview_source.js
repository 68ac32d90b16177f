// Previews as sources: Opus in chunks, each a file that is fetched and decoded by itself, then cut to its frames.

import { askJson, bodyOf, Offline, persist, Problem, request, SessionEnded } from "../http.js";
import { sample } from "./decoded.js";
import { FLOATS, INTEGERS } from "./samples.js";
import { RATE_HZ } from "./time.js";

const TYPE = 'audio/ogg; codecs="opus"';
// Of the frames that a decoder brings to our rate, one at the end may be missing, or be one too many.
const SLACK_FRAMES = 2;
// Firefox leaves what the file says to cut off at its end: less than a packet of Opus.
const PACKET_FRAMES = 882;

const MAKING = "Getting ready to play…";
const AGAIN_MS = 500;

let probing = null; // whether this browser decodes a chunk to the frames that are in it

/** Read a preview, as a source is read. */
export class PreviewSource {
  #url;
  #contents;
  #last = { number: null, audio: null };

  constructor(url, contents) {
    this.#url = url;
    this.#contents = contents;
    this.frames = contents.frames;
    this.kind = contents.clips ? INTEGERS : FLOATS; // half the memory where the stems themselves are 16 bits
  }

  /** Fetch and decode frames. */
  async read(start, end, signal) {
    const { chunk_frames: chunkFrames, lead_in_frames: leadIn } = this.#contents;
    const pcm = new this.kind.array(2 * (end - start));
    for (let at = start; at < end; ) {
      const number = Math.floor(at / chunkFrames);
      const until = Math.min(end, (number + 1) * chunkFrames);
      const audio = await this.#decode(number, signal);
      const first = leadIn + at - number * chunkFrames;
      interleaveInto(pcm, 2 * (at - start), audio, first, first + until - at);
      at = until;
    }
    return pcm;
  }

  async #decode(number, signal) {
    // Who scrubs asks for a few frames again and again.
    if (this.#last.number === number) return this.#last.audio;
    const load = async () => bodyOf(await request(`${this.#url}/${number}`, { signal }));
    const bytes = await persist(load, { signal });
    const audio = await decode(bytes, this.#contents);
    signal?.throwIfAborted();
    this.#last = { number, audio };
    return audio;
  }
}

/** Return the previews' contents as the server tells of them, null where there are none for this browser; `tell` gets
 * words while they are being made. */
export async function previewsOf(url, tell = () => {}) {
  if (!url || !new Audio().canPlayType(TYPE)) return null;
  try {
    for (;;) {
      const { contents, soon } = await askJson(url);
      if (!soon) return contents;
      tell(MAKING);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  } catch (error) {
    if (error instanceof Offline || error instanceof SessionEnded) throw error;
    return null; // what isn't there is no reason not to play
  } finally {
    tell("");
  }
}

/** Tell whether this browser decodes a source's first chunk as it should; it is asked once a page. */
export async function canDecode(source) {
  probing ??= source.read(0, 1).then(
    () => true,
    (error) => {
      if (error instanceof Offline || error instanceof SessionEnded) throw error;
      return false;
    },
  );
  try {
    return await probing;
  } catch (error) {
    probing = null;
    throw error;
  }
}

async function decode(bytes, { chunk_frames: chunkFrames, lead_in_frames: leadIn }) {
  let audio;
  try {
    audio = await new OfflineAudioContext(2, 1, RATE_HZ).decodeAudioData(bytes);
  } catch {
    throw new Problem("This browser can't decode the stems' previews.");
  }
  const surplus = audio.length - (leadIn + chunkFrames + leadIn);
  // One that knows nothing of what is to be skipped at the start is late by that: seven packets, and some.
  if (surplus >= -SLACK_FRAMES && surplus <= PACKET_FRAMES) return audio;
  throw new Problem("This browser doesn't decode the previews exactly.");
}

/** Copy frames of an AudioBuffer; integers are rounded, and clipped as the stems were. */
function interleaveInto(pcm, offset, audio, start, end) {
  const isInteger = pcm instanceof Int16Array;
  for (let channel = 0; channel < 2; channel += 1) {
    const samples = audio.getChannelData(Math.min(channel, audio.numberOfChannels - 1)).subarray(start, end);
    for (let i = 0; i < samples.length; i += 1) {
      pcm[offset + 2 * i + channel] = isInteger ? sample(samples[i]) : samples[i];
    }
  }
}
