// What a pointer does on a waveform: a click jumps, a drag scrubs, a drag with shift marks a loop; on the ruler every
// drag does, so that a finger can.

const DRAG_PIXELS = 4; // a hand isn't steadier

/** Listen to a canvas; every callback gets fractions of its width. */
export function listenToPointer(canvas, { scrub, drop, cancel, mark, isRuler = false }) {
  let drag = null; // {startX, lastX, isLoop, hasMoved}
  const fraction = (x) => {
    const box = canvas.getBoundingClientRect();
    return Math.max(0, Math.min(1, (x - box.left) / box.width));
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    drag = { startX: event.clientX, lastX: event.clientX, isLoop: isRuler || event.shiftKey, hasMoved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", ({ clientX, isPrimary }) => {
    if (!drag || !isPrimary) return;
    drag.hasMoved ||= Math.abs(clientX - drag.startX) >= DRAG_PIXELS;
    if (!drag.hasMoved) return;
    drag.lastX = clientX;
    if (drag.isLoop) mark(fraction(drag.startX), fraction(clientX), false);
    else scrub(fraction(clientX));
  });
  canvas.addEventListener("pointerup", ({ clientX, isPrimary }) => {
    if (!drag || !isPrimary) return;
    const { startX, isLoop, hasMoved } = drag;
    drag = null;
    if (isLoop && hasMoved) mark(fraction(startX), fraction(clientX), true);
    else drop(fraction(clientX));
  });
  canvas.addEventListener("pointercancel", () => {
    // The finger scrolls the page instead; a loop is as far as it was drawn.
    if (drag?.isLoop && drag.hasMoved) mark(fraction(drag.startX), fraction(drag.lastX), true);
    else if (drag && !drag.isLoop) cancel();
    drag = null;
  });
}
