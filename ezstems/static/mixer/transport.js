// Play all stems as one: blocks are scheduled back to back on the output's clock, seconds ahead of what is heard.
//
// All times are whole frames, of the song or of the output's clock. If a block comes too late the song's clock stands
// still until it is there, for all stems alike: late data costs a pause, never the stems' common time.

import { outlast, Problem } from "../http.js";
import { planBlock } from "./plan.js";
import { RATE_HZ } from "./time.js";
import { Timeline } from "./timeline.js";

// A hidden page's timers run once a second or less: what is scheduled must last for several turns of them.
const AHEAD_FRAMES = 8 * RATE_HZ;
// From now to the first frame that a script can still rely on to schedule in time.
const LEAD_FRAMES = Math.round(0.06 * RATE_HZ);
const MARGIN_FRAMES = LEAD_FRAMES / 2;
// The same where the sound must not break off: time enough to make the next buffers.
const REPLAN_FRAMES = Math.round(0.2 * RATE_HZ);
// Without an output, or where the browser allows no sound, the clock stands still. A machine that slept isn't meant.
const PATIENCE_MS = 5000;
const LONGEST_TURN_MS = 1000;
export const NO_SOUND =
  "The browser's sound doesn't start. Connect loudspeakers or headphones, choose them as the device's output, let this " +
  "page play sound in the browser's settings, and press Play again.";

export class Transport {
  #chunks;
  #output;
  #length;
  #changed;
  #failed;
  #loop = null;
  #isWanted = false; // that it plays
  #rest = 0; // where it begins when it is wanted to play
  #timeline = null; // what is scheduled; null while nothing is to be
  #cursor = null; // the song's frame after it, null behind the end
  #generation = 0; // whoever waits for data of an earlier plan leaves it at that
  #pumping = null;
  #told = "paused";
  #now;
  #clock = { frame: 0, readMs: 0, stillMs: 0 }; // the output's, as it was when it was last looked at
  #isCutOff = false; // that the server can't be reached
  #countedIn = -Infinity; // the clock's frame after what was counted in

  /**
   * `changed` is called on every new state; `failed` with the Problem that stopped the playing, or that holds it up
   * until the server can be reached again, and with null when it is.
   */
  constructor(chunks, output, length, { changed, failed, now = () => performance.now() }) {
    this.#chunks = chunks;
    this.#output = output;
    this.#length = length;
    this.#changed = changed;
    this.#failed = failed;
    this.#now = now;
  }

  get isPlaying() {
    return this.#isWanted;
  }

  /** Whether it is the sound itself that hasn't begun yet. */
  get isStarting() {
    return this.#isWanted && !this.#timeline;
  }

  get state() {
    if (!this.#isWanted) return "paused";
    if (!this.#timeline || this.#timeline.isEmpty) return "buffering";
    return this.#output.frame < this.#timeline.end || this.#cursor === null ? "playing" : "buffering";
  }

  /** The song's frame that is heard. */
  get position() {
    if (!this.#timeline || this.#timeline.isEmpty) return this.#rest;
    return this.#timeline.frameAt(this.#output.heardFrame);
  }

  /** Play on, from the start if the end was reached; `leadTo` returns what goes before a frame, {frames, stems}, or null. */
  async play(leadTo = () => null) {
    if (this.#isWanted) return;
    this.#isWanted = true;
    if (this.#rest >= this.#length) this.#rest = 0;
    this.#clock = { frame: this.#output.frame, readMs: this.#now(), stillMs: 0 };
    const generation = ++this.#generation;
    this.tick();
    try {
      await this.#output.wake();
    } catch {
      if (generation === this.#generation) this.#stopFor(new Problem(NO_SOUND));
      return;
    }
    if (generation === this.#generation) this.#begin(this.#rest, leadTo(this.#rest));
  }

  pause() {
    if (!this.#isWanted) return;
    this.#rest = this.position;
    this.#halt();
    this.#isWanted = false;
    this.#output.rest();
    this.tick();
  }

  /** Go to a frame, playing or not. */
  seek(frame) {
    this.#rest = Math.round(Math.max(0, Math.min(this.#length, frame)));
    this.#chunks.abandon(this.#rest);
    if (this.#timeline) {
      this.#halt();
      this.#begin(this.#rest);
    }
    this.tick();
  }

  /** Repeat a part of the song from now on, or, with null, none. */
  setLoop(loop) {
    this.#loop = loop;
    this.renew();
  }

  /** Read anew what is heard from about now on: something has changed in it. */
  renew() {
    if (this.#timeline) this.#replan();
  }

  /** Do what time has made due; to be called several times a second while the song plays. */
  tick() {
    if (this.#isWanted && this.#isSilent()) {
      this.#stopFor(new Problem(NO_SOUND));
      this.#output.close(); // the next try begins anew
      return;
    }
    if (this.#timeline) {
      const heard = this.#output.heardFrame;
      this.#timeline.forget(heard);
      if (this.#cursor === null && heard >= this.#timeline.end) this.#finish();
      else this.#pump();
    }
    if (this.state !== this.#told) {
      this.#told = this.state;
      this.#changed();
    }
  }

  /** Tell whether the output has not begun, or its clock has stood still, for too long. */
  #isSilent() {
    const [{ frame }, readMs] = [this.#output, this.#now()];
    const turnMs = Math.min(LONGEST_TURN_MS, readMs - this.#clock.readMs);
    const stillMs = this.isStarting || frame === this.#clock.frame ? this.#clock.stillMs + turnMs : 0;
    this.#clock = { frame, readMs, stillMs };
    return stillMs >= PATIENCE_MS;
  }

  #begin(frame, lead = null) {
    this.#rest = frame;
    this.#timeline = new Timeline();
    this.#cursor = frame < this.#length ? frame : null;
    if (lead) {
      // A piece of no length: the song stands still while the lead is heard.
      const block = { pieces: [{ start: frame, end: frame }], frames: lead.frames, next: this.#cursor };
      this.#schedule(block, this.#output.prepare(lead.stems));
    }
    this.#countedIn = lead ? this.#timeline.end : -Infinity;
    this.tick();
  }

  #halt() {
    this.#generation += 1;
    const silentFrom = this.#output.fadeOut();
    this.#timeline?.stop(silentFrom);
    this.#timeline = null;
  }

  #finish() {
    this.#generation += 1;
    this.#timeline = null;
    this.#rest = this.#length;
    this.#isWanted = false;
    this.#output.rest();
  }

  /** Keep what is about to be heard, drop what is scheduled after it, and go on from there by the new plan. */
  #replan() {
    this.#generation += 1;
    this.#rest = this.position;
    const from = this.#timeline.isEmpty ? this.#rest : this.#timeline.frameAt(this.#output.frame);
    this.#cursor = this.#timeline.cut(Math.max(this.#output.frame + REPLAN_FRAMES, this.#countedIn)) ?? this.#cursor;
    // A loop that ends before that is played a moment too far the first time, rather than missed or broken off.
    const passes = this.#loop && from < this.#loop.end && (this.#cursor ?? this.#length) >= this.#loop.end;
    if (passes) this.#cursor = this.#loop.start;
    this.tick();
  }

  #stopFor(problem) {
    this.pause();
    this.#failed(problem);
  }

  async #pump() {
    const generation = this.#generation;
    if (this.#pumping === generation) return;
    this.#pumping = generation;
    try {
      while (this.#cursor !== null && this.#timeline.end - this.#output.frame < AHEAD_FRAMES) {
        const block = planBlock(this.#cursor, this.#length, this.#loop);
        const stems = await this.#read(block.pieces, generation);
        if (generation !== this.#generation) return;
        this.#schedule(block, this.#output.prepare(stems));
      }
    } catch (problem) {
      if (generation === this.#generation) this.#stopFor(problem);
    } finally {
      if (this.#pumping === generation) this.#pumping = null;
    }
  }

  /** Read pieces, however long the server can't be reached: the song goes on when it can. */
  async #read(pieces, generation) {
    const stems = await outlast(() => this.#chunks.read(pieces), {
      goesOn: () => generation === this.#generation,
      tell: (problem) => {
        this.#isCutOff = true;
        this.#failed(problem);
      },
    });
    if (this.#isCutOff && generation === this.#generation) this.#failed(null);
    this.#isCutOff &&= generation !== this.#generation;
    return stems;
  }

  #schedule({ pieces, frames, next }, buffers) {
    const [beganFrame, beganMs] = [this.#output.frame, this.#now()];
    // Firefox's clock stands still until the page's turn is over.
    const frame = () => Math.max(this.#output.frame, beganFrame + Math.round(((this.#now() - beganMs) / 1000) * RATE_HZ));
    for (let lead = LEAD_FRAMES; ; lead *= 2) {
      const follows = this.#timeline.end >= frame() + MARGIN_FRAMES;
      const at = follows ? this.#timeline.end : frame() + lead;
      const handle = this.#output.start(buffers, at, () => this.tick());
      // If the clock has passed the block's begin by now, some stems began in time and others did not: once more.
      if (frame() < at) {
        if (!follows) this.#output.fadeIn(at);
        this.#timeline.add({ pieces, frames, at, handle });
        break;
      }
      handle.stop(0);
    }
    this.#cursor = next;
    this.tick();
  }
}
