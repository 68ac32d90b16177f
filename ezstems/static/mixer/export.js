// The export of the present mix: a form's fields, of which the server makes the file.

/** Return the fields of a mix: each stem's factor, and tempo and key where they were changed. */
export function fieldsOf(stems, gains, { tempo = 1, semitones = 0 } = {}) {
  const fields = stems.map((stem, number) => [`gain.${stem}`, String(gains[number])]);
  if (tempo !== 1) fields.push(["tempo", String(Number(tempo.toFixed(4)))]);
  if (semitones !== 0) fields.push(["semitones", String(semitones)]);
  return fields;
}

/** Add to the form's own fields, when it is sent, those of the mix as it is then. */
export function listenToExport(form, fields) {
  form.addEventListener("formdata", (event) => fields().forEach(([name, value]) => event.formData.set(name, value)));
}
