// The ruler above the lanes: the song's time, the loop, which is drawn on it, and where the song is.

import { clockText } from "./time.js";

const STEPS_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const LABEL_PIXELS = 64; // what the longest label takes, and some air
const COLOURS = { ink: "var(--ink)", text: "var(--muted)", line: "var(--edge)", loop: "var(--accent)" };
const LOOP_OPACITY = 0.25;
const FONT_PIXELS = 12;

/** Return the seconds between labels, so that they don't touch. */
export function stepOf(lengthSeconds, widthPixels) {
  const room = (LABEL_PIXELS * lengthSeconds) / widthPixels;
  return STEPS_SECONDS.find((step) => step >= room) ?? Math.ceil(room / 3600) * 3600;
}

export class Ruler {
  #lengthSeconds = 0;
  #colours = {};
  #view = { position: 0, loop: null };
  #shown = "";

  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => this.restyle()).observe(canvas);
  }

  setLength(seconds) {
    this.#lengthSeconds = seconds;
    this.restyle();
  }

  /** Show a position, a fraction of the song, and a loop of two fractions and `isOn`, or null. */
  show(view) {
    this.#view = view;
    this.#draw();
  }

  /** Draw anew: the size, the screen or the colours have changed. */
  restyle() {
    const { canvas } = this;
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    for (const [name, colour] of Object.entries(COLOURS)) {
      // A drawing takes no var(): the browser resolves it as a real property's value.
      canvas.style.color = colour;
      this.#colours[name] = getComputedStyle(canvas).color;
    }
    canvas.style.color = "";
    this.#shown = "";
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height || !this.#lengthSeconds) return;
    const { position, loop } = this.#view;
    const shown = `${Math.round(position * this.canvas.width)} ${loop?.start} ${loop?.end} ${loop?.isOn}`;
    if (shown === this.#shown) return; // nothing moved by a whole pixel
    this.#shown = shown;
    const context = this.canvas.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (loop) this.#drawLoop(context, width, height, loop);
    this.#drawTimes(context, width, height);
    context.fillStyle = this.#colours.ink;
    context.fillRect(Math.min(width - 1, Math.round(position * width)), 0, 1, height);
  }

  #drawLoop(context, width, height, { start, end, isOn }) {
    const [from, to] = [start * width, end * width];
    context.fillStyle = isOn ? this.#colours.loop : this.#colours.line;
    context.globalAlpha = LOOP_OPACITY;
    context.fillRect(from, 0, Math.max(1, to - from), height);
    context.globalAlpha = 1;
    for (const edge of [from, to - 2]) context.fillRect(edge, 0, 2, height);
  }

  #drawTimes(context, width, height) {
    const step = stepOf(this.#lengthSeconds, width);
    context.font = `${FONT_PIXELS}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (let second = 0; second < this.#lengthSeconds; second += step) {
      const x = (second / this.#lengthSeconds) * width;
      context.fillStyle = this.#colours.line;
      context.fillRect(x, height - 8, 1, 8);
      const text = clockText(second);
      if (x + 4 + context.measureText(text).width > width) continue; // it would be cut off
      context.fillStyle = this.#colours.text;
      context.fillText(text, x + 4, height / 2);
    }
  }
}
