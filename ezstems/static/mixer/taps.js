// The tempo that somebody taps.

import { isBpm } from "./beats.js";

/** Return the line through the seconds at which somebody tapped: `bpm`, and `one`, the second of a beat; or null. */
export function tapped(seconds) {
  if (seconds.length < 3) return null;
  const middle = (seconds.length - 1) / 2;
  const mean = seconds.reduce((sum, second) => sum + second, 0) / seconds.length;
  const spread = seconds.reduce((sum, _, i) => sum + (i - middle) ** 2, 0);
  const step = seconds.reduce((sum, second, i) => sum + (i - middle) * (second - mean), 0) / spread;
  const bpm = 60 / step;
  return isBpm(bpm) ? { bpm, one: mean - middle * step } : null;
}
