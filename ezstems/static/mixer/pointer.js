// What a pointer does on a waveform: a click jumps, a drag scrubs, a drag with shift marks a loop; on the ruler every
// drag does, so that a finger can. Wheel and two fingers enlarge and move what is in sight.

import { cancelDrag, listenToDrags } from "./gestures.js";

const DRAG_PIXELS = 4; // a hand isn't steadier
const WHEEL_PIXELS = 300; // by which the wheel enlarges e-fold
const LINE_PIXELS = 40; // where the wheel counts lines
const NEAREST_PIXELS = 24; // what two fingers are apart at least

/** Return the fraction of an element's width at which a pointer is, within its bounds. */
export function fractionIn(element, clientX) {
  const box = element.getBoundingClientRect();
  return Math.max(0, Math.min(1, (clientX - box.left) / box.width));
}

/** Listen to a canvas; `frameAt` returns the frame at a fraction of its width, and every callback gets such frames. */
export function listenToPointer(canvas, { frameAt, scrub, drop, cancel, mark, unmark, isRuler = false }) {
  const frame = ({ clientX }) => frameAt(fractionIn(canvas, clientX));
  listenToDrags(canvas, (press) => {
    const isLoop = isRuler || press.shiftKey;
    const start = frame(press);
    let hasMoved = false;
    return {
      move: (event) => {
        hasMoved ||= Math.abs(event.clientX - press.clientX) >= DRAG_PIXELS;
        if (!hasMoved) return;
        if (isLoop) mark(start, frame(event), false);
        else scrub(frame(event));
      },
      end: (event) => {
        if (isLoop && hasMoved) mark(start, frame(event), true);
        else drop(frame(event));
      },
      cancel: () => {
        if (!hasMoved) return;
        if (isLoop) unmark();
        else cancel();
      },
    };
  });
}

/** Listen to the wheel over an element's canvases: `zoom` gets a factor and a place, `pan` pixels; it may refuse them. */
export function listenToWheel(element, { zoom, pan }) {
  element.addEventListener(
    "wheel",
    (event) => {
      if (!event.target.closest("canvas, .edge")) return;
      const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PIXELS : 1;
      // Two fingers on a touchpad come as a wheel with Ctrl, as the browser's own zoom would want it.
      if (event.ctrlKey || event.metaKey) {
        zoom(Math.exp((-event.deltaY * unit) / WHEEL_PIXELS), event.clientX);
        event.preventDefault();
        return;
      }
      const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
      if (Math.abs(sideways) < Math.abs(event.shiftKey ? 0 : event.deltaY)) return; // the page's own
      if (sideways && pan(sideways * unit)) event.preventDefault();
    },
    { passive: false },
  );
}

/** Listen to two fingers on an element's canvases; `begin` gets their middle, `move` that and how far apart they went. */
export function listenToPinch(element, { begin, move }) {
  const fingers = new Map(); // by the pointer's id
  let apart = 0; // pixels, when both had come
  const distance = ([one, other]) => Math.max(NEAREST_PIXELS, Math.hypot(one.x - other.x, one.y - other.y));
  const middle = ([one, other]) => (one.x + other.x) / 2;
  const place = ({ clientX: x, clientY: y }) => ({ x, y });
  element.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" || !event.target.matches("canvas")) return;
    fingers.set(event.pointerId, place(event));
    if (fingers.size !== 2) return;
    cancelDrag();
    const both = [...fingers.values()];
    apart = distance(both);
    begin(middle(both));
  });
  element.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, place(event));
    const both = [...fingers.values()];
    if (both.length === 2) move(middle(both), distance(both) / apart);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    element.addEventListener(name, ({ pointerId }) => fingers.delete(pointerId));
  }
}
