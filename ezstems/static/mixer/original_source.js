// The sound that a song was separated from, where the server has it for playing.

/** Return a source like a stem's, or null where there is none: no song has one yet. */
export async function openOriginal() {
  return null;
}
