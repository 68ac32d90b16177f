// What part of the song is in sight, and the controls that change it.

import { isDragging } from "./gestures.js";
import { recall, remember } from "./memory.js";
import { fractionIn, listenToPinch, listenToWheel } from "./pointer.js";
import { clockText, preciseText, RATE_HZ } from "./time.js";
import { followed, frameAt, holds, moved, revealed, windowOf, zoomed } from "./window.js";

const STEP = 2; // the factor of a key or button
const SCROLLED = 0.25; // of the width, by an arrow on the slider below
const KEEP_MS = 300; // what is still turned isn't worth writing down
const MIN_KNOB = 0.06; // of the slider's width

const isFraction = (value) => typeof value === "number" && value >= 0 && value <= 1;

export class Zoom {
  window;
  #root;
  #length;
  #transport;
  #changed;
  #canvas;
  #isFollowing = true; // the position, for it was in sight when somebody last chose what is
  #pinch = null; // {frame, frames}: what was in the middle of both fingers, and how much was in sight
  #keeping = null;

  /** `changed` is called whenever something else is in sight, and when there is more or less room for it. */
  constructor(root, { length, transport, changed }) {
    this.#root = root;
    this.#length = length;
    this.#transport = transport;
    this.#changed = changed;
    this.#canvas = this.#part("ruler");
    const { start, frames } = Object(recall(root.dataset.song, "zoom"));
    const isKept = isFraction(start) && isFraction(frames);
    this.window = windowOf(isKept ? start * length : 0, 0, isKept ? frames * length : length, length);
    this.#listen();
    this.#show();
  }

  #part(name) {
    return this.#root.querySelector(`[data-part="${name}"]`);
  }

  #listen() {
    const lanes = this.#root.querySelector(".lanes");
    listenToWheel(lanes, {
      zoom: (factor, x) => this.#choose(zoomed(this.window, factor, this.frameAt(fractionIn(this.#canvas, x)), this.#length)),
      pan: (pixels) => this.#pan((pixels / this.#canvas.clientWidth) * this.window.frames),
    });
    listenToPinch(lanes, {
      begin: (x) => (this.#pinch = { frame: this.frameAt(fractionIn(this.#canvas, x)), frames: this.window.frames }),
      move: (x, factor) => {
        const { frame, frames } = this.#pinch;
        this.#choose(windowOf(frame, fractionIn(this.#canvas, x), frames / factor, this.#length));
      },
    });
    const scroll = this.#part("scroll");
    scroll.addEventListener("input", () => this.#choose(moved(this.window, Number(scroll.value) * RATE_HZ, this.#length)));
    scroll.addEventListener("keydown", (event) => this.#scroll(event));
    new ResizeObserver(() => this.#changed()).observe(this.#canvas);
    window.addEventListener("pagehide", () => this.#keep());
  }

  #scroll(event) {
    const pages = { ArrowLeft: -SCROLLED, ArrowDown: -SCROLLED, ArrowRight: SCROLLED, ArrowUp: SCROLLED, PageDown: 1, PageUp: -1 };
    if (!Object.hasOwn(pages, event.key) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#pan(pages[event.key] * this.window.frames);
  }

  get isWhole() {
    return this.window.frames >= this.#length;
  }

  /** Return the frame at a fraction of the width. */
  frameAt(fraction) {
    return frameAt(this.window, fraction);
  }

  /** Do what a key or a button asks for, `in`, `out` or `whole`; return what to say of it. */
  act(what) {
    const factor = { in: STEP, out: 1 / STEP, whole: 0 }[what];
    this.#choose(zoomed(this.window, factor, this.#transport.position, this.#length));
    return this.isWhole ? "The whole song is in sight" : `${this.#text} in sight`;
  }

  /** See to it that a frame is in sight, and that the position will stay so if it is there. */
  reveal(frame) {
    this.#isFollowing = true;
    this.#set(revealed(this.window, frame, this.#length));
  }

  /** Turn the pages with a position that moves; not for who looks elsewhere, or is dragging something. */
  follow(frame) {
    if (isDragging()) return;
    this.#isFollowing ||= holds(this.window, frame);
    if (this.#isFollowing) this.#set(followed(this.window, frame, this.#length));
  }

  #pan(frames) {
    if (this.isWhole) return false;
    this.#choose(moved(this.window, this.window.start + frames, this.#length));
    return true;
  }

  #choose(chosen) {
    this.#set(chosen);
    this.#isFollowing = holds(this.window, this.#transport.position);
  }

  #set(next) {
    if (next.start === this.window.start && next.frames === this.window.frames) return;
    this.window = next;
    clearTimeout(this.#keeping);
    this.#keeping = setTimeout(() => this.#keep(), KEEP_MS);
    this.#show();
    this.#changed();
  }

  #keep() {
    const { start, frames } = this.window;
    const fractions = { start: start / this.#length, frames: frames / this.#length };
    remember(this.#root.dataset.song, "zoom", this.isWhole ? null : fractions);
  }

  get #text() {
    const { start, frames } = this.window;
    const write = frames < 20 * RATE_HZ ? preciseText : clockText;
    return `${write(start / RATE_HZ)} to ${write((start + frames) / RATE_HZ)}`;
  }

  #show() {
    const { start, frames } = this.window;
    this.#root.dataset.view = [start, start + frames].map((frame) => (frame / RATE_HZ).toFixed(5)).join(" ");
    this.#root.toggleAttribute("data-zoomed", !this.isWhole);
    const scroll = this.#part("scroll");
    scroll.disabled = this.isWhole;
    scroll.max = (this.#length - frames) / RATE_HZ;
    scroll.value = start / RATE_HZ;
    scroll.setAttribute("aria-valuetext", this.#text);
    // Its knob is as long as what is in sight is of the song.
    scroll.style.setProperty("--knob", `${100 * Math.max(MIN_KNOB, frames / this.#length)}%`);
  }
}
