// The mixer's keys: which key means what, and where it is left alone.

import { Choice } from "../choice.js";

const STEP_SECONDS = 5;
const SMALL_STEP_SECONDS = 1;
const LETTERS = { m: "mute", s: "solo", l: "loop", i: "loopIn", o: "loopOut", b: "original" };
const STRETCHES = { "[": { percent: -5 }, "]": { percent: 5 }, ",": { semitones: -1 }, ".": { semitones: 1 } };
const BEATS = { c: "click", n: "count-in", t: "tap", d: "beat-one", g: "snap" };
const ZOOMS = { "+": "in", "=": "in", "-": "out", z: "whole" };
const PRESETS = { k: "karaoke", a: "a cappella", p: "practise", 0: "everything" };

/** Return what a key event asks for, or null; `place` says what has the focus: text, range, control or page. */
export function commandOf({ key, shiftKey, ctrlKey, altKey, metaKey, repeat }, place) {
  if (ctrlKey || altKey || metaKey || place === "text") return null;
  if (key === "?") return { do: "help" };
  if (/^[1-9]$/.test(key)) return repeat ? null : { do: "soloLane", lane: Number(key) - 1 };
  const letter = LETTERS[key.toLowerCase()];
  if (letter) return repeat ? null : { do: letter };
  const preset = PRESETS[key.toLowerCase()];
  if (preset) return repeat ? null : { do: "preset", preset };
  const beats = BEATS[key.toLowerCase()];
  if (beats) return repeat ? null : { do: "beats", beats };
  const zoom = ZOOMS[key.toLowerCase()];
  if (zoom) return { do: "zoom", zoom };
  if (Object.hasOwn(STRETCHES, key)) return { do: "stretch", by: STRETCHES[key] };
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

/** Say what kind of place an element is for a key; a button that was `clicked` has the focus by accident. */
export function placeOf(element, clicked = null) {
  if (element.isContentEditable || element.matches("textarea, select")) return "text";
  if (element.matches("button, a, summary, input[type=checkbox]")) return element === clicked ? "page" : "control";
  if (element.matches("input[type=range]")) return "range";
  return element.matches("input") ? "text" : "page";
}

/** Set the keys' switch as it was left in this browser; return what tells whether it is on. */
export function rememberedSwitch(checkbox) {
  const choice = new Choice("shortcuts", true);
  checkbox.checked = choice.isOn;
  checkbox.addEventListener("change", () => (choice.isOn = checkbox.checked));
  return () => checkbox.checked;
}

/** Listen to the whole page's keys, except while a dialog is open or the reader has switched them off. */
export function listenToKeys(act, isOn) {
  let clicked = null; // what the pointer gave the focus, until the focus moves on
  let isTaken = false; // that the space bar's press was ours: so is its release, on which some browsers click
  const control = (element) => element.closest?.("button, a, summary, label, input") ?? null;
  document.addEventListener("pointerdown", ({ target }) => (clicked = control(target)?.control ?? control(target)), true);
  document.addEventListener("focusin", ({ target }) => {
    if (target !== clicked) clicked = null;
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && isTaken) event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === " " && !event.repeat) isTaken = false;
    if (event.defaultPrevented || document.querySelector("dialog[open]") || !isOn()) return;
    const command = commandOf(event, placeOf(event.target, clicked));
    if (!command) return;
    event.preventDefault();
    if (event.key === " ") isTaken = true;
    act(command);
  });
}
