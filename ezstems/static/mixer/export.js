// The exports: the form of the present mix, of which the server makes the file, and what is said before it does.

import { gainsOf } from "./gains.js";

const SILENT = "Every stem is silent: there is nothing to export.";
const NONE_CHOSEN = "Choose one stem at least.";
const FULL_SCALE_PEAK = 255;

/** Return the fields of a mix: each stem's factor, and tempo and key where they were changed. */
export function fieldsOf(stems, gains, { tempo = 1, semitones = 0 } = {}) {
  const fields = stems.map((stem, number) => [`gain.${stem}`, String(gains[number])]);
  if (tempo !== 1) fields.push(["tempo", String(Number(tempo.toFixed(4)))]);
  if (semitones !== 0) fields.push(["semitones", String(semitones)]);
  return fields;
}

/** Return by how many decibels at most a mix is above full scale, by its stems' peaks; as they are, they are the song. */
export function excessDb(peaks, gains) {
  if (!gains.some((gain) => gain > 1)) return 0;
  let loudest = 0;
  for (let at = 0; at < peaks[0].length; at += 1) {
    loudest = Math.max(loudest, peaks.reduce((sum, stem, number) => sum + gains[number] * stem[at], 0));
  }
  return Math.max(0, 20 * Math.log10(loudest / FULL_SCALE_PEAK));
}

/** Send with the mix's form the mix as it is then; say where there is nothing to export, and where a mix may clip. */
export function listenToExports(panel, lanes, stretch) {
  const [form, note] = ["export", "export-note"].map((name) => panel.querySelector(`[data-part="${name}"]`));
  const stems = lanes.map((lane) => lane.stem);
  const fields = () => fieldsOf(stems, gainsOf(lanes), stretch());
  form.addEventListener("formdata", (event) => fields().forEach(([name, value]) => event.formData.set(name, value)));
  panel.addEventListener("submit", (event) => {
    const refusal = event.target === form ? silenceOf(lanes) : choiceOf(event.target);
    if (refusal) event.preventDefault();
    const isFloat = form.dataset.clips === undefined && form.elements.format.value === "wav";
    note.textContent = refusal ?? (event.target !== form || isFloat ? "" : clippingOf(lanes));
  });
}

function silenceOf(lanes) {
  return gainsOf(lanes).some((gain) => gain > 0) ? null : SILENT;
}

function choiceOf(form) {
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  return boxes.length && !boxes.some((box) => box.checked) ? NONE_CHOSEN : null;
}

function clippingOf(lanes) {
  const decibels = excessDb(lanes.map((lane) => lane.peaks), gainsOf(lanes));
  if (!decibels) return "";
  return `This mix may be up to ${decibels.toFixed(1)} dB above full scale, and what is above is cut off: lower the volumes.`;
}
