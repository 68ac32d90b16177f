// The ruler above the lanes: the time of what is in sight, the bars where they are known, the loop, which is drawn on
// it, and where the song is.

import { fitted } from "./canvas.js";
import { clockText, preciseText, RATE_HZ } from "./time.js";
import { fractionOf } from "./window.js";

const STEPS_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const LABEL_PIXELS = 64; // what the longest label takes, and some air
const BAR_LABEL_PIXELS = 36;
const LINE_PIXELS = 8; // between lines that are still told apart
const COLOURS = { ink: "var(--ink)", text: "var(--muted)", line: "var(--edge)", loop: "var(--accent)" };
const LOOP_OPACITY = 0.25;
const FONT_PIXELS = 12;

/** Return the seconds between labels, so that they don't touch. */
export function stepOf(lengthSeconds, widthPixels) {
  const room = (LABEL_PIXELS * lengthSeconds) / widthPixels;
  return STEPS_SECONDS.find((step) => step >= room) ?? Math.ceil(room / 3600) * 3600;
}

/** Return of how many bars, a power of two, one is drawn, if one is so wide and has to be wider. */
export function barStepOf(barPixels, wantedPixels) {
  return 2 ** Math.max(0, Math.ceil(Math.log2(wantedPixels / barPixels)));
}

export class Ruler {
  #beats = null;
  #layer = null; // times and bars, drawn once a window, size and colour scheme
  #drawn = null; // the window that it shows
  #colours = {};
  #view = { window: null, position: 0, loop: null };
  #shown = "";

  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => this.restyle()).observe(canvas);
  }

  /** Show the bars of a song's `Beats`. */
  setBeats(beats) {
    this.#beats = beats.isKnown ? beats : null;
    this.redraw();
  }

  /** Show a window, a position in it, and a loop of `start`, `end` and `isOn`, or null: all in frames. */
  show(view) {
    this.#view = view;
    this.#draw();
  }

  /** Draw anew: the size, the screen or the colours have changed. */
  restyle() {
    this.#colours = fitted(this.canvas, COLOURS);
    this.redraw();
  }

  /** Draw anew: what is written on it has changed. */
  redraw() {
    this.#drawn = null;
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { window, position, loop } = this.#view;
    if (!window || !width || !height) return;
    if (window !== this.#drawn) this.#drawLayer(window, width, height);
    const head = Math.round(fractionOf(window, position) * width);
    const shown = `${head} ${loop?.start} ${loop?.end} ${loop?.isOn}`;
    if (shown === this.#shown) return; // nothing moved by a whole pixel
    this.#shown = shown;
    const context = contextOf(this.canvas);
    context.clearRect(0, 0, width, height);
    if (loop) this.#drawLoop(context, width, height, { window, ...loop });
    context.drawImage(this.#layer, 0, 0, width, height);
    if (head < 0 || head > width) return; // it is elsewhere
    context.fillStyle = this.#colours.ink;
    context.fillRect(Math.min(width - 1, head), 0, 1, height);
  }

  #drawLoop(context, width, height, { window, start, end, isOn }) {
    const [from, to] = [start, end].map((frame) => Math.max(-2, Math.min(1 + 2 / width, fractionOf(window, frame)) * width));
    if (from > width || to < 0) return;
    context.fillStyle = isOn ? this.#colours.loop : this.#colours.line;
    context.globalAlpha = LOOP_OPACITY;
    context.fillRect(from, 0, Math.max(1, to - from), height);
    context.globalAlpha = 1;
    for (const edge of [from, to - 2]) context.fillRect(edge, 0, 2, height);
  }

  #drawLayer(window, width, height) {
    this.#layer ??= document.createElement("canvas");
    [this.#layer.width, this.#layer.height] = [this.canvas.width, this.canvas.height]; // which clears it
    const context = contextOf(this.#layer);
    context.font = `${FONT_PIXELS}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    this.#drawTimes(context, window, width, height);
    if (this.#beats) this.#drawBars(context, window, width, height);
    this.#drawn = window;
    this.#shown = "";
  }

  #drawTimes(context, window, width, height) {
    const step = stepOf(window.frames / RATE_HZ, width);
    const middle = this.#beats ? height / 4 : height / 2;
    const top = this.#beats ? 4 : height - 8;
    const past = (window.start + window.frames) / RATE_HZ;
    // Also the one whose label begins before the left edge; sums of tenths wouldn't be whole tenths.
    for (let number = Math.floor(window.start / RATE_HZ / step); number * step < past; number += 1) {
      const second = number * step;
      const x = fractionOf(window, second * RATE_HZ) * width;
      context.fillStyle = this.#colours.line;
      context.fillRect(Math.round(x), top, 1, 8);
      const text = step < 1 ? preciseText(second) : clockText(second);
      if (x + 4 + context.measureText(text).width > width) continue; // it would be cut off
      context.fillStyle = this.#colours.text;
      context.fillText(text, x + 4, middle);
    }
  }

  /** Draw bars below the times: fewer, and without their beats, where they would be too narrow. */
  #drawBars(context, window, width, height) {
    const { bars } = this.#beats;
    if (bars.length < 2) return;
    const top = height / 2 + 2;
    const place = (frame) => Math.round(fractionOf(window, frame) * width);
    const perBar = this.#beats.corrections.perBar;
    const barPixels = ((bars.at(-1).frame - bars[0].frame) / (bars.length - 1) / window.frames) * width;
    const lineStep = barStepOf(barPixels, LINE_PIXELS);
    const labelStep = barStepOf(barPixels, BAR_LABEL_PIXELS);
    context.fillStyle = this.#colours.line;
    if (barPixels / perBar >= LINE_PIXELS) {
      const [from, to] = [window.start, window.start + window.frames].map((frame) => frame / RATE_HZ);
      for (const { second } of this.#beats.between(from, to)) context.fillRect(place(second * RATE_HZ), height - 5, 1, 5);
    }
    for (const { frame, number } of bars) {
      const x = place(frame);
      if (x < -BAR_LABEL_PIXELS || x > width || (number - 1) % lineStep !== 0) continue;
      const isLabelled = (number - 1) % labelStep === 0;
      context.fillStyle = this.#colours.line;
      context.fillRect(x, isLabelled ? top : height - 10, 1, height);
      if (!isLabelled || x + 4 + context.measureText(number).width > width) continue;
      context.fillStyle = this.#colours.ink;
      context.fillText(number, x + 4, (top + height) / 2);
    }
  }
}

/** Return a canvas' context that counts in the page's pixels. */
function contextOf(canvas) {
  const context = canvas.getContext("2d");
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  return context;
}
