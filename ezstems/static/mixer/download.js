// The download of the present mix: its button, its progress, and what came of it.

const KEEP_MS = 60_000; // a browser may begin to save only after a while, for instance when it asks where to

/** Return the file's name for a song's. */
export function mixName(song) {
  return `${song.replace(/\.(mp3|wav|m4a)$/i, "")} mix.wav`;
}

/** Say what was saved. */
export function savedText(name, clipped) {
  if (!clipped) return `Saved as “${name}”.`;
  const samples = clipped === 1 ? "1 sample was" : `${clipped.toLocaleString("en")} samples were`;
  return `Saved as “${name}”; ${samples} louder than full scale and clipped. Lower volumes avoid that.`;
}

/** Wire the parts of the page; `render` gets {tell, signal} and returns what `mixdown` does. */
export function listenToDownload(part, song, render) {
  const [button, cancel, progress, text] = ["mix", "mix-cancel", "mix-progress", "mix-text"].map(part);
  let abort = null;
  const isBusy = (busy) => {
    button.disabled = busy;
    for (const element of [cancel, progress]) element.hidden = !busy;
  };
  cancel.addEventListener("click", () => abort.abort());
  button.addEventListener("click", async () => {
    abort = new AbortController();
    isBusy(true);
    progress.value = 0;
    text.textContent = "Mixing…";
    cancel.focus();
    try {
      const { blob, clipped } = await render({ tell: (done) => (progress.value = done), signal: abort.signal });
      save(blob, mixName(song));
      text.textContent = savedText(mixName(song), clipped);
    } catch (problem) {
      text.textContent = problem.name === "AbortError" ? "Cancelled." : problem.message;
    }
    const hadFocus = document.activeElement === cancel;
    isBusy(false);
    if (hadFocus) button.focus();
  });
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEEP_MS);
}
