// The loop's controls: its two ends, whether it is on, and what that means for a song that is playing.

import { loopOf, MIN_LOOP_FRAMES } from "./plan.js";
import { preciseText, RATE_HZ } from "./time.js";

export class Loop {
  #transport;
  #length;
  #changed;
  #region = null;
  #isOn = false;
  #before = null; // while one is being drawn: {region, isOn}

  /** `changed` is called after every change. */
  constructor(transport, length, changed) {
    this.#transport = transport;
    this.#length = length;
    this.#changed = changed;
  }

  /** Begin the loop at a frame. */
  setStart(frame) {
    this.#set(frame, this.#region?.end > frame ? this.#region.end : this.#length);
  }

  /** End the loop at a frame. */
  setEnd(frame) {
    this.#set(this.#region?.start < frame ? this.#region.start : 0, frame);
  }

  /** Make a loop of two fractions of the song; one that is still being drawn isn't played yet. */
  mark(one, other, isDone) {
    const region = loopOf(one * this.#length, other * this.#length, this.#length);
    if (!region) return;
    this.#draw(region, true, isDone);
  }

  /** Move its `start` or its `end` to a frame, as near to the other as it may come; it stays on or off. */
  move(edge, frame, isDone) {
    const { least, most } = this.boundsOf(edge);
    const bounded = Math.round(Math.max(least, Math.min(most, frame)));
    this.#draw({ ...this.#region, [edge]: bounded }, this.#isOn, isDone);
  }

  /** Return the first and the last frame at which its `start` or its `end` may be. */
  boundsOf(edge) {
    const { start, end } = this.#region;
    return edge === "start" ? { least: 0, most: end - MIN_LOOP_FRAMES } : { least: start + MIN_LOOP_FRAMES, most: this.#length };
  }

  /** Leave it as it was before it began to be drawn. */
  cancel() {
    if (!this.#before) return;
    [this.#region, this.#isOn] = [this.#before.region, this.#before.isOn];
    this.#before = null;
    this.#changed();
  }

  #draw(region, isOn, isDone) {
    this.#before = isDone ? null : (this.#before ?? { region: this.#region, isOn: this.#isOn });
    [this.#region, this.#isOn] = [region, isOn];
    if (isDone) this.#apply();
    else this.#changed();
  }

  /** Switch it on, without ends the whole song, or off. */
  toggle() {
    this.#isOn = !this.#isOn;
    this.#region ??= loopOf(0, this.#length, this.#length);
    this.#apply();
  }

  /** Take the loop away. */
  clear() {
    [this.#region, this.#isOn] = [null, false];
    this.#apply();
  }

  #set(start, end) {
    const region = loopOf(start, end, this.#length);
    if (!region) return;
    this.#region = region;
    this.#isOn = true;
    this.#apply();
  }

  #apply() {
    const region = this.#isOn ? this.#region : null;
    this.#transport.setLoop(region);
    const { position } = this.#transport;
    // Who makes a loop wants to hear it, now or on Play; from behind its end the song would go on without it.
    if (region && (position < region.start || position >= region.end)) this.#transport.seek(region.start);
    this.#changed();
  }

  get isOn() {
    return this.#isOn && this.#region !== null;
  }

  /** The ends in frames, and whether it is on; null without any. */
  get region() {
    return this.#region && { ...this.#region, isOn: this.#isOn };
  }

  /** The ends as fractions of the song, to be kept. */
  get fractions() {
    if (!this.#region) return null;
    return { start: this.#region.start / this.#length, end: this.#region.end / this.#length, isOn: this.#isOn };
  }

  /** The ends in words. */
  get text() {
    if (!this.#region) return "";
    return `${preciseText(this.#region.start / RATE_HZ)} – ${preciseText(this.#region.end / RATE_HZ)}`;
  }
}
