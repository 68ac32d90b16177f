// The mixer's keys: which key means what, and where it is left alone.

const STEP_SECONDS = 5;
const SMALL_STEP_SECONDS = 1;
const LETTERS = { m: "mute", s: "solo", l: "loop", i: "loopIn", o: "loopOut" };

/** Return what a key event asks for, or null; `place` says what has the focus: text, range, control or page. */
export function commandOf({ key, shiftKey, ctrlKey, altKey, metaKey, repeat }, place) {
  if (ctrlKey || altKey || metaKey || place === "text") return null;
  if (key === "?") return { do: "help" };
  if (/^[1-9]$/.test(key)) return repeat ? null : { do: "soloLane", lane: Number(key) - 1 };
  const letter = LETTERS[key.toLowerCase()];
  if (letter) return repeat ? null : { do: letter };
  // A button keeps its space bar.
  if (key === " ") return repeat || place === "control" ? null : { do: "toggle" };
  // A slider keeps its arrows, Home and End.
  if (place === "range") return null;
  if (key === "ArrowLeft" || key === "ArrowRight") return { do: "skip", seconds: skipOf({ key, shiftKey }) };
  if (key === "ArrowUp") return { do: "select", by: -1 };
  if (key === "ArrowDown") return { do: "select", by: 1 };
  if (key === "Home") return { do: "toStart" };
  if (key === "End") return { do: "toEnd" };
  return null;
}

/** Return by how many seconds an arrow key moves the song's own slider, whose steps are finer; null for other keys. */
export function skipOf({ key, shiftKey, altKey, ctrlKey, metaKey }) {
  if (altKey || ctrlKey || metaKey) return null; // the browser's own
  const step = shiftKey ? SMALL_STEP_SECONDS : STEP_SECONDS;
  if (key === "ArrowLeft" || key === "ArrowDown") return -step;
  return key === "ArrowRight" || key === "ArrowUp" ? step : null;
}

/** Say what kind of place an element is for a key. */
export function placeOf(element) {
  if (element.isContentEditable || element.matches("textarea, select")) return "text";
  if (element.matches("button, a, summary, input[type=checkbox]")) return "control";
  if (element.matches("input[type=range]")) return "range";
  return element.matches("input") ? "text" : "page";
}

/** Listen to the whole page's keys, except while a dialog is open or the reader has switched them off. */
export function listenToKeys(act, isOn) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]") || !isOn()) return;
    const command = commandOf(event, placeOf(event.target));
    if (!command) return;
    event.preventDefault();
    act(command);
  });
}
