// The click on a song's beats: one more stem, made where it is read, so that it is in step with the others whatever
// is played, looped or stretched.

import { RATE_HZ } from "./time.js";

const CLICK_FRAMES = Math.round(0.03 * RATE_HZ);
const DECAY_SECONDS = 0.006;
const [BAR_HZ, BEAT_HZ] = [1600, 1000];
const AMPLITUDE = 0.8 * 32767;
const sounds = { bar: sound(BAR_HZ), beat: sound(BEAT_HZ) };

function sound(hz) {
  return Float32Array.from({ length: CLICK_FRAMES }, (_, frame) => {
    const seconds = frame / RATE_HZ;
    const end = Math.min(1, (CLICK_FRAMES - frame) / 100);
    return AMPLITUDE * end * Math.cos(2 * Math.PI * hz * seconds) * Math.exp(-seconds / DECAY_SECONDS);
  });
}

/** Return the clicks of beats from one frame to another: interleaved, 16 bits. */
export function clicksOf(beats, start, end) {
  const pcm = new Int16Array(2 * (end - start));
  for (const { second, beat } of beats.between((start - CLICK_FRAMES) / RATE_HZ, (end + 1) / RATE_HZ)) {
    const samples = beat === 1 ? sounds.bar : sounds.beat;
    const at = Math.round(second * RATE_HZ) - start;
    for (let i = Math.max(0, -at); i < CLICK_FRAMES && at + i < end - start; i += 1) {
      pcm[2 * (at + i)] = pcm[2 * (at + i) + 1] = samples[i];
    }
  }
  return pcm;
}

export class Click {
  isOn = false;
  countsIn = false;
  beats = null; // a `Beats`

  /** Return a song's frames of the click. */
  read(start, end) {
    return this.isOn && this.beats?.isKnown ? clicksOf(this.beats, start, end) : new Int16Array(2 * (end - start));
  }

  /** Return what is heard before a frame, if anything: a bar of clicks, and as long a silence of every stem. */
  countIn(frame, stems) {
    if (!this.countsIn || !this.beats?.isKnown) return null;
    const number = this.beats.numberAt(frame / RATE_HZ);
    const start = Math.round(this.beats.secondOf(number - this.beats.corrections.perBar) * RATE_HZ);
    const silence = new Int16Array(2 * (frame - start));
    const clicks = clicksOf(this.beats, start, frame);
    return { frames: frame - start, stems: [...Array(stems).fill([silence]), [clicks]] };
  }
}

/** Return chunks whose last stem is the click. */
export function clicked(chunks, click) {
  return {
    read: async (pieces) => [...(await chunks.read(pieces)), pieces.map(({ start, end }) => click.read(start, end))],
    readFew: async (start, end) => [...(await chunks.readFew(start, end)), click.read(start, end)],
    abandon: (frame) => chunks.abandon(frame),
  };
}
