// Waveform peaks: as the server sends them, and as a canvas of some width draws them.

/** Decode base64 of one byte a peak. */
export function decodePeaks(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Return the loudest peak, 0 to 1, of each of some columns; without peaks a flat line. */
export function columnsOf(peaks, columns) {
  const loudest = new Float32Array(columns);
  for (let column = 0; column < columns && peaks.length; column += 1) {
    const first = Math.floor((column * peaks.length) / columns);
    const past = Math.max(first + 1, Math.floor(((column + 1) * peaks.length) / columns));
    for (let i = first; i < past; i += 1) loudest[column] = Math.max(loudest[column], peaks[i] / 255);
  }
  return loudest;
}
