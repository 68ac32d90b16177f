// What this browser remembers of each song's mixer: a few values a song, of the songs that were used last.

export const MAX_SONGS = 200;
const PREFIX = "mixer.";

/** Remember a part's value for a song, null to forget it; a browser that keeps nothing for us is no reason to fail. */
export function remember(songId, part, value) {
  try {
    const { values } = entryOf(PREFIX + songId);
    if (value === null) delete values[part];
    else values[part] = value;
    localStorage.setItem(PREFIX + songId, JSON.stringify({ usedAt: Date.now(), values }));
    forgetOldest();
  } catch {
    // The storage is full, or not ours to use.
  }
}

/** Return what was remembered, null if nothing is; whoever asks still checks that it has the shape it should have. */
export function recall(songId, part) {
  try {
    const { values } = entryOf(PREFIX + songId);
    return Object.hasOwn(values, part) ? (values[part] ?? null) : null;
  } catch {
    return null;
  }
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Read an entry; what isn't one of ours counts as empty and old. */
function entryOf(key) {
  const empty = { usedAt: 0, values: {} };
  try {
    const entry = JSON.parse(localStorage.getItem(key));
    if (!isObject(entry) || !isObject(entry.values)) return empty;
    return { usedAt: Number.isFinite(entry.usedAt) ? entry.usedAt : 0, values: entry.values };
  } catch {
    return empty;
  }
}

function forgetOldest() {
  const all = Array.from({ length: localStorage.length }, (_, number) => localStorage.key(number));
  const songs = all.filter((key) => key.startsWith(PREFIX));
  if (songs.length <= MAX_SONGS) return;
  const byAge = songs.map((key) => ({ key, usedAt: entryOf(key).usedAt })).sort((one, other) => one.usedAt - other.usedAt);
  for (const { key } of byAge.slice(0, songs.length - MAX_SONGS)) localStorage.removeItem(key);
}
