// A drag from its press to its release, of a mouse, a pen or one finger. There is one at a time; Escape cancels it, and
// so does the browser where it scrolls the page instead.

let current = null; // {id, acts}

/** Tell whether something is being dragged. */
export function isDragging() {
  return current !== null;
}

/** Cancel what is being dragged. */
export function cancelDrag() {
  over("cancel");
}

function over(how, event) {
  const { acts } = current ?? {};
  current = null;
  document.removeEventListener("keydown", escape, true);
  acts?.[how](event);
}

function escape(event) {
  if (event.key !== "Escape") return;
  event.preventDefault();
  event.stopPropagation();
  cancelDrag();
}

/** Listen to an element's drags; `begin` gets the press, and returns what is done then: `move`, `end` and `cancel`. */
export function listenToDrags(element, begin) {
  const isOurs = ({ pointerId }) => pointerId === current?.id && element.hasPointerCapture(pointerId);
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    cancelDrag();
    element.setPointerCapture(event.pointerId);
    current = { id: event.pointerId, acts: begin(event) };
    document.addEventListener("keydown", escape, true);
  });
  element.addEventListener("pointermove", (event) => isOurs(event) && current.acts.move(event));
  element.addEventListener("pointerup", (event) => isOurs(event) && over("end", event));
  element.addEventListener("pointercancel", ({ pointerId }) => pointerId === current?.id && cancelDrag());
}
