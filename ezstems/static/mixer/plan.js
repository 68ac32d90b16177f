// What is played next, in frames: a song is cut into chunks, which are fetched, and played in blocks made of pieces.
//
// A piece lies in one chunk. A block is played by one buffer a stem: where a loop jumps back inside it, it does so
// between two frames of that buffer, exact to the frame however busy the page is.

import { RATE_HZ } from "./time.js";

export const CHUNK_FRAMES = 4 * RATE_HZ;
// Shorter ones would have to be scheduled more often than a throttled timer allows.
export const MIN_BLOCK_FRAMES = RATE_HZ;
export const MIN_LOOP_FRAMES = RATE_HZ / 10;

/** Plan the block that begins at a frame: its pieces, its frames, and the frame after it, null at the song's end. */
export function planBlock(cursor, length, loop) {
  const pieces = [];
  let frames = 0;
  while (cursor < length && frames < MIN_BLOCK_FRAMES) {
    // Who starts behind the loop plays on to the song's end.
    const limit = loop && cursor < loop.end ? loop.end : length;
    const end = Math.min(limit, (Math.floor(cursor / CHUNK_FRAMES) + 1) * CHUNK_FRAMES);
    pieces.push({ start: cursor, end });
    frames += end - cursor;
    cursor = loop && end === loop.end && limit === loop.end ? loop.start : end;
  }
  return { pieces, frames, next: cursor < length ? cursor : null };
}

/** Return the song's frame that a block plays at an offset, within its bounds. */
export function frameIn(pieces, offset) {
  let left = Math.max(0, offset);
  for (const { start, end } of pieces) {
    if (left < end - start) return start + left;
    left -= end - start;
  }
  return pieces.at(-1).end;
}

/** Return a loop with ordered ends inside the song, long enough to be heard as one, or null. */
export function loopOf(one, other, length) {
  const start = Math.round(Math.max(0, Math.min(one, other)));
  const end = Math.round(Math.min(length, Math.max(one, other)));
  return end - start >= MIN_LOOP_FRAMES ? { start, end } : null;
}
