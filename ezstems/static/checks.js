// Check a file before it is sent, by the server's own limits.

const KB = 1024;
const MB = 1024 * KB;

/** Write a size as the server does, in MB of 1024 × 1024 bytes, or in what it has at least one of. */
export function sizeText(bytes) {
  if (bytes < KB) return `${bytes} ${bytes === 1 ? "byte" : "bytes"}`;
  if (Math.round(bytes / KB) < KB) return `${Math.round(bytes / KB)} KB`;
  return `${(bytes / MB).toFixed(1)} MB`;
}

/** Say what the button does with the files that wait for it. */
export function buttonText(count) {
  return count ? `Separate ${count} ${count === 1 ? "song" : "songs"}` : "Separate";
}

/** Return why a file would be refused, in words, or null. */
export function whyNot({ name, size }, { maxBytes, extensions }) {
  const visible = name.replace(/[^\P{C}\u200c\u200d]/gu, "").trim();
  const extension = /.\.([^.]+)$/u.exec(visible)?.[1].toLowerCase();
  if (!extensions.includes(extension)) {
    const known = extensions.map((each) => `.${each}`);
    return `Its name must end in ${known.slice(0, -1).join(", ")} or ${known.at(-1)}.`;
  }
  if (size === 0) return "It is empty.";
  // Rounded up: a file just over the limit must not read like one at the limit.
  const megabytes = (Math.ceil((size / MB) * 10) / 10).toFixed(1);
  if (size > maxBytes) return `It is ${megabytes} MB; your plan allows ${Math.floor(maxBytes / MB)} MB a file.`;
  return null;
}
