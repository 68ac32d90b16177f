// A lane's waveform on its canvas, as much of it as is in sight: what was played in full colour and the rest paler, the
// loop, and where the song is.

import { fitted } from "./canvas.js";
import { StemPeaks } from "./peaks.js";
import { fractionOf } from "./window.js";

// The canvas' own colour is that of its stem; the others are the stylesheet's.
const COLOURS = { stem: "", playhead: "var(--ink)", loop: "var(--accent)" };
const LOOP_OPACITY = 0.25;
const UNPLAYED_OPACITY = 0.45;

export class Wave {
  peaks = new StemPeaks();
  #canvas;
  #layer = null; // the waveform, drawn once a window, size and colour scheme
  #drawn = null; // the window that it shows
  #colours = {};
  #shown = "";
  #view = { window: null, position: 0, loop: null };
  #isSeen = true;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.restyle()).observe(canvas);
    new IntersectionObserver(([entry]) => {
      this.#isSeen = entry.isIntersecting;
      if (this.#isSeen) this.#draw();
    }).observe(canvas);
  }

  /** Take the server's peaks, of so many frames each, of a song that is as long as it says. */
  setPeaks(peaks, frames, samples) {
    this.peaks.setCoarse(peaks, frames);
    this.#view.window ??= { start: 0, frames: samples };
    this.redraw();
  }

  /** How many columns there are. */
  get columns() {
    return Math.ceil(this.#canvas.clientWidth);
  }

  /**
   * Show a window, a position in it, and a loop of `start`, `end` and `isOn`, or null: all in frames. While the position
   * alone moves with the screen, a canvas that nobody sees isn't drawn.
   */
  show(view) {
    this.#view = view;
    if (this.#isSeen || !view.isAnimated || view.window !== this.#drawn) this.#draw();
  }

  /** Draw anew: the size, the screen or the colours have changed. */
  restyle() {
    this.#colours = fitted(this.#canvas, COLOURS);
    this.redraw();
  }

  /** Draw anew: there are other peaks. */
  redraw() {
    this.#drawn = null;
    this.#draw();
  }

  #drawLayer(window) {
    const { width, height } = this.#canvas;
    this.#layer ??= document.createElement("canvas");
    [this.#layer.width, this.#layer.height] = [width, height]; // which clears it
    const context = this.#layer.getContext("2d");
    context.fillStyle = this.#colours.stem;
    const count = this.columns;
    const frames = window.frames / count;
    // Columns lie at multiples of their length, wherever the window begins: moved, the waveform keeps its shape.
    const heights = this.peaks.columns(Math.round(window.start / frames) * frames, frames, count);
    const step = width / count;
    heights.forEach((loudest, column) => {
      const tall = Math.max(devicePixelRatio, loudest * height);
      context.fillRect(column * step, (height - tall) / 2, step, tall);
    });
    this.#drawn = window;
    this.#shown = "";
  }

  #draw() {
    const { width, height } = this.#canvas;
    const { window, position, loop } = this.#view;
    if (!window || !width || !height) return; // not known, or not laid out yet
    if (window !== this.#drawn) this.#drawLayer(window);
    const at = (frame) => Math.round(Math.max(0, Math.min(1, fractionOf(window, frame))) * width);
    const head = at(position);
    const shown = `${head} ${loop?.start} ${loop?.end} ${loop?.isOn}`;
    if (shown === this.#shown) return; // nothing moved by a whole pixel
    this.#shown = shown;
    const context = this.#canvas.getContext("2d");
    const layer = this.#layer;
    context.clearRect(0, 0, width, height);
    if (loop && loop.start < window.start + window.frames && loop.end > window.start) {
      context.fillStyle = this.#colours.loop;
      context.globalAlpha = LOOP_OPACITY;
      const [from, to] = [at(loop.start), at(loop.end)];
      // A loop that is off is only a bar below.
      const top = loop.isOn ? 0 : height - 3 * devicePixelRatio;
      context.fillRect(from, top, Math.max(devicePixelRatio, to - from), height - top);
    }
    context.globalAlpha = UNPLAYED_OPACITY;
    if (head < width) context.drawImage(layer, head, 0, width - head, height, head, 0, width - head, height);
    context.globalAlpha = 1;
    if (head > 0) context.drawImage(layer, 0, 0, head, height, 0, 0, head, height);
    const fraction = fractionOf(window, position);
    if (fraction < 0 || fraction > 1) return; // it is elsewhere
    context.fillStyle = this.#colours.playhead;
    context.fillRect(Math.min(width - devicePixelRatio, head), 0, devicePixelRatio, height);
  }
}

/** Call back when colours or pixels may have changed, though no size did. */
export function onNewLook(callback) {
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", callback);
  }
  const next = () => {
    callback();
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", next, { once: true });
  };
  next();
}
