// A lane's waveform on its canvas: what was played in full colour and the rest paler, the loop, and where the song is.

import { columnsOf } from "./peaks.js";

// The canvas' own colour is that of its stem; the others are the stylesheet's.
const COLOURS = { stem: "", playhead: "var(--ink)", loop: "var(--accent)" };
const LOOP_OPACITY = 0.25;
const UNPLAYED_OPACITY = 0.45;

export class Wave {
  #canvas;
  #peaks = new Uint8Array(); // none: a flat line
  #layer = null; // the waveform, drawn once a size and colour scheme
  #colours = {};
  #shown = "";
  #view = { position: 0, loop: null };

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.restyle()).observe(canvas);
  }

  setPeaks(peaks) {
    this.#peaks = peaks;
    this.restyle();
  }

  /** Show a position, a fraction of the song, and a loop of two fractions and `isOn`, or null. */
  show(view) {
    this.#view = view;
    if (this.#layer) this.#draw();
  }

  /** Draw anew: the size, the screen or the colours have changed. */
  restyle() {
    const canvas = this.#canvas;
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    this.#layer = null;
    if (!canvas.width || !canvas.height) return; // not laid out yet
    for (const [name, colour] of Object.entries(COLOURS)) {
      // A drawing takes no var(): the browser resolves it as a real property's value.
      canvas.style.color = colour;
      this.#colours[name] = getComputedStyle(canvas).color;
    }
    canvas.style.color = "";
    const columns = columnsOf(this.#peaks, Math.ceil(canvas.clientWidth));
    this.#layer = this.#drawing(columns, this.#colours.stem);
    this.#shown = "";
    this.#draw();
  }

  #drawing(columns, colour) {
    const { width, height } = this.#canvas;
    const layer = document.createElement("canvas");
    [layer.width, layer.height] = [width, height];
    const context = layer.getContext("2d");
    context.fillStyle = colour;
    const step = width / columns.length;
    columns.forEach((loudest, column) => {
      const tall = Math.max(devicePixelRatio, loudest * height);
      context.fillRect(column * step, (height - tall) / 2, step, tall);
    });
    return layer;
  }

  #draw() {
    const { width, height } = this.#canvas;
    const { position, loop } = this.#view;
    const head = Math.round(position * width);
    const shown = `${head} ${loop?.start} ${loop?.end} ${loop?.isOn}`;
    if (shown === this.#shown) return; // nothing moved by a whole pixel
    this.#shown = shown;
    const context = this.#canvas.getContext("2d");
    const layer = this.#layer;
    context.clearRect(0, 0, width, height);
    if (loop) {
      context.fillStyle = this.#colours.loop;
      context.globalAlpha = LOOP_OPACITY;
      const [from, to] = [loop.start * width, loop.end * width];
      // A loop that is off is only a bar below.
      const top = loop.isOn ? 0 : height - 3 * devicePixelRatio;
      context.fillRect(from, top, Math.max(devicePixelRatio, to - from), height - top);
      context.globalAlpha = 1;
    }
    context.globalAlpha = UNPLAYED_OPACITY;
    if (head < width) context.drawImage(layer, head, 0, width - head, height, head, 0, width - head, height);
    context.globalAlpha = 1;
    if (head > 0) context.drawImage(layer, 0, 0, head, height, 0, 0, head, height);
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
