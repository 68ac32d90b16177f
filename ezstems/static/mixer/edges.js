// The loop's two ends on the ruler: they drag, and keys move them.

import { listenToDrags } from "./gestures.js";
import { fractionIn } from "./pointer.js";
import { preciseText, RATE_HZ } from "./time.js";
import { fractionOf, holds } from "./window.js";

const STEP_SECONDS = 0.1;
const SMALL_STEP_SECONDS = 0.01;
const PAGE_SECONDS = 1;
const MOST_STEPS = 600; // to the next place where an end may be

/** Return by how many seconds a key moves an end, `Infinity` as far as it goes; null for other keys. */
export function stepOfKey({ key, shiftKey, altKey, ctrlKey, metaKey }) {
  if (altKey || ctrlKey || metaKey) return null; // the browser's own
  const step = shiftKey ? SMALL_STEP_SECONDS : STEP_SECONDS;
  const steps = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step };
  return { ...steps, PageDown: -PAGE_SECONDS, PageUp: PAGE_SECONDS, Home: -Infinity, End: Infinity }[key] ?? null;
}

/** Return the next place a step from a frame, or more steps where `snap` would lead back: onto the next beat. */
export function stepped(frame, step, snap) {
  for (let steps = 1; steps <= MOST_STEPS; steps += 1) {
    const next = snap(frame + steps * step);
    if ((next - frame) * step > 0) return next;
  }
  return frame;
}

export class Edges {
  #loop;
  #zoom;
  #length;
  #snap;
  #canvas;
  #handles;

  /** `snap` returns the frame at which an end that is moved to another may be. */
  constructor(root, { loop, zoom, length, snap }) {
    this.#loop = loop;
    this.#zoom = zoom;
    this.#length = length;
    this.#snap = snap;
    this.#canvas = root.querySelector('[data-part="ruler"]');
    const start = root.querySelector('[data-part="edge-start"]');
    const end = root.querySelector('[data-part="edge-end"]');
    this.#handles = { start, end };
    for (const [edge, handle] of Object.entries(this.#handles)) {
      listenToDrags(handle, (press) => this.#drag(edge, press));
      handle.addEventListener("keydown", (event) => this.#press(edge, event));
      // Who comes by the Tab key sees what he moves.
      handle.addEventListener("focus", () => this.#zoom.reveal(this.#loop.region[edge]));
    }
  }

  #drag(edge, press) {
    // Wherever in the handle it was taken, the end doesn't jump there.
    const taken = this.#loop.region[edge] - this.#frame(press);
    return {
      move: (event) => this.#loop.move(edge, this.#snap(this.#frame(event) + taken), false),
      end: () => this.#loop.move(edge, this.#loop.region[edge], true),
      cancel: () => this.#loop.cancel(),
    };
  }

  #frame({ clientX }) {
    return this.#zoom.frameAt(fractionIn(this.#canvas, clientX));
  }

  #press(edge, event) {
    const seconds = stepOfKey(event);
    if (seconds === null) return;
    event.preventDefault();
    const frame = this.#loop.region[edge];
    const isFar = !Number.isFinite(seconds);
    const next = isFar ? Math.sign(seconds) * this.#length : stepped(frame, seconds * RATE_HZ, this.#snap);
    this.#loop.move(edge, next, true);
    this.#zoom.reveal(this.#loop.region[edge]);
  }

  /** Show where the ends are, as far as they are in sight. */
  show() {
    const { region } = this.#loop;
    const { window } = this.#zoom;
    for (const [edge, handle] of Object.entries(this.#handles)) {
      handle.hidden = !region;
      if (!region) continue;
      const frame = region[edge];
      const bounds = this.#loop.boundsOf(edge);
      handle.toggleAttribute("data-away", !holds(window, frame));
      handle.style.setProperty("--at", String(Math.max(0, Math.min(1, fractionOf(window, frame)))));
      handle.setAttribute("aria-valuemin", seconds(bounds.least));
      handle.setAttribute("aria-valuemax", seconds(bounds.most));
      handle.setAttribute("aria-valuenow", seconds(frame));
      handle.setAttribute("aria-valuetext", preciseText(frame / RATE_HZ));
    }
  }
}

function seconds(frame) {
  return (frame / RATE_HZ).toFixed(3);
}
