// The part of a song that is in sight, which all lanes and the ruler share: its first frame, and how many frames.

import { RATE_HZ } from "./time.js";

export const MIN_FRAMES = RATE_HZ; // nearer there would be less than a peak a pixel
const FOLLOWED = 0.95; // of the width, before the next page is turned to
const LEAD = 0.05; // of the width, before where it is turned to

/** Return the window of so many frames in which a frame lies at a fraction of the width, as far as the song goes. */
export function windowOf(frame, fraction, frames, length) {
  const bounded = Math.min(length, Math.max(MIN_FRAMES, frames));
  return { start: Math.max(0, Math.min(length - bounded, frame - fraction * bounded)), frames: bounded };
}

/** Return a window a factor nearer; a frame, or if that isn't in sight the middle, stays where it is. */
export function zoomed(window, factor, frame, length) {
  const fraction = fractionOf(window, frame);
  const isInside = fraction >= 0 && fraction <= 1;
  const fixed = isInside ? fraction : 0.5;
  return windowOf(window.start + fixed * window.frames, fixed, window.frames / factor, length);
}

/** Return a window that begins elsewhere. */
export function moved(window, start, length) {
  return windowOf(start, 0, window.frames, length);
}

/** Return the fraction of the width at which a frame lies: outside of 0 to 1 where it isn't in sight. */
export function fractionOf({ start, frames }, frame) {
  return (frame - start) / frames;
}

/** Return the frame at a fraction of the width. */
export function frameAt({ start, frames }, fraction) {
  return start + fraction * frames;
}

export function holds(window, frame) {
  const fraction = fractionOf(window, frame);
  return fraction >= 0 && fraction <= 1;
}

/** Return a window with a frame in it; one that isn't yet comes near the left edge, as on a turned page. */
export function revealed(window, frame, length) {
  return holds(window, frame) ? window : windowOf(frame, LEAD, window.frames, length);
}

/** Return the window for a frame that moves on: the next page, shortly before the end of this one. */
export function followed(window, frame, length) {
  const fraction = fractionOf(window, frame);
  const isLast = window.start + window.frames >= length;
  if (fraction >= 0 && (fraction < FOLLOWED || isLast)) return window;
  return windowOf(frame, LEAD, window.frames, length);
}
