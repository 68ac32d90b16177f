// The tempo that somebody taps.

import { isBpm } from "./beats.js";

const JUMP_SECONDS = 0.2; // by which a song that plays gets out of step with the clock: it was sought, or looped

/**
 * Return the line through taps, {ms, second}, of the clock and of the song: `bpm`, and `one`, a beat's second; or null.
 * `rate` is how many of the song's seconds pass in one of the clock's. A loop's jump changes where beats are, as the last
 * taps say, and not how fast they come.
 */
export function tapped(taps, rate = 1) {
  if (taps.length < 3) return null;
  const times = taps.map(({ ms }) => (ms / 1000) * rate);
  const middle = (times.length - 1) / 2;
  const spread = times.reduce((sum, _, i) => sum + (i - middle) ** 2, 0);
  const step = times.reduce((sum, time, i) => sum + (i - middle) * (time - mean(times)), 0) / spread;
  const bpm = 60 / step;
  if (!isBpm(bpm)) return null;
  const ahead = taps.map(({ second }, i) => second - times[i]);
  const since = ahead.filter((each) => Math.abs(each - ahead.at(-1)) < JUMP_SECONDS);
  return { bpm, one: mean(times) - middle * step + mean(since) };
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
