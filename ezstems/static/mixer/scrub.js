// What is heard while the pointer is dragged over a waveform: short grains at the pointer, at the song's own pitch.

import { RATE_HZ } from "./time.js";

const HOP_FRAMES = Math.round(0.045 * RATE_HZ);
export const GRAIN_FRAMES = 2 * HOP_FRAMES; // two overlapping raised cosines add up to one
const LEAD_FRAMES = Math.round(0.02 * RATE_HZ);

/** Fade interleaved frames in and out by a raised cosine. */
export function windowed(pcm) {
  return pcm.map((value, i) => value * Math.sin((Math.PI * (i >> 1)) / (pcm.length / 2)) ** 2);
}

export class Scrubber {
  #chunks;
  #output;
  #length;
  #wanted = null; // the frame of the grain that is due
  #drag = 0; // counts the drags that have ended
  #isRunning = false;
  #isOpen = false; // that the fader was opened for this drag

  constructor(chunks, output, length) {
    this.#chunks = chunks;
    this.#output = output;
    this.#length = length;
  }

  /** Let a frame be heard, if nothing newer comes before it can be. */
  move(frame) {
    this.#wanted = frame;
    if (!this.#isRunning) this.#run();
  }

  /** Be silent from the next grain on. */
  end() {
    this.#drag += 1;
    this.#wanted = null;
    this.#isOpen = false;
    this.#output.rest();
  }

  async #run() {
    this.#isRunning = true;
    try {
      await this.#output.wake();
      for (let due = 0; this.#wanted !== null; ) {
        const start = Math.round(Math.max(0, Math.min(this.#length - GRAIN_FRAMES, this.#wanted - GRAIN_FRAMES / 2)));
        this.#wanted = null;
        const drag = this.#drag;
        const stems = await this.#chunks.readFew(start, Math.min(this.#length, start + GRAIN_FRAMES));
        if (drag !== this.#drag) continue; // released while it was fetched: whatever plays now is not ours to fade
        const at = Math.max(due, this.#output.frame + LEAD_FRAMES);
        this.#output.start(this.#output.prepare(stems.map((pcm) => [windowed(pcm)])), at);
        if (!this.#isOpen) this.#output.fadeIn(at);
        this.#isOpen = true;
        due = at + HOP_FRAMES;
        const waitMs = this.#output.seconds(due - LEAD_FRAMES - this.#output.frame) * 1000;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    } catch {
      // A grain that can't be fetched isn't heard; playing from there will say why.
    } finally {
      this.#isRunning = false;
    }
  }
}
