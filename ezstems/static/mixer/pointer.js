// What a pointer does on a waveform: a click jumps, a drag scrubs, a drag with shift marks a loop.

const DRAG_PIXELS = 4; // a hand isn't steadier

/** Listen to a canvas; every callback gets fractions of its width. */
export function listenToPointer(canvas, { scrub, drop, cancel, mark }) {
  let drag = null; // {startX, isLoop, hasMoved}
  const fraction = (x) => {
    const box = canvas.getBoundingClientRect();
    return Math.max(0, Math.min(1, (x - box.left) / box.width));
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    drag = { startX: event.clientX, isLoop: event.shiftKey, hasMoved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", ({ clientX, isPrimary }) => {
    if (!drag || !isPrimary) return;
    drag.hasMoved ||= Math.abs(clientX - drag.startX) >= DRAG_PIXELS;
    if (!drag.hasMoved) return;
    if (drag.isLoop) mark(fraction(drag.startX), fraction(clientX), false);
    else scrub(fraction(clientX));
  });
  canvas.addEventListener("pointerup", ({ clientX, isPrimary }) => {
    if (!drag || !isPrimary) return;
    const { startX, isLoop, hasMoved } = drag;
    drag = null;
    if (!isLoop) drop(fraction(clientX));
    else if (hasMoved) mark(fraction(startX), fraction(clientX), true);
  });
  canvas.addEventListener("pointercancel", () => {
    // The finger scrolls the page instead.
    if (drag && !drag.isLoop) cancel();
    drag = null;
  });
}
