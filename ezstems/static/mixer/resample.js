// A sound in more frames or fewer: what plays it slower or faster.
//
// A buffer's `playbackRate` would do, but Firefox's filter begins and ends each buffer in a dip: a tick wherever two join.

import { RATE_HZ } from "./time.js";

/** Return an AudioBuffer that lasts so many frames; what is between two of its own lies on a curve through four. */
export function resampled(buffer, length) {
  if (buffer.length === length) return buffer;
  const { numberOfChannels } = buffer;
  const made = new AudioBuffer({ length, numberOfChannels, sampleRate: RATE_HZ });
  for (let channel = 0; channel < numberOfChannels; channel += 1) {
    resample(buffer.getChannelData(channel), made.getChannelData(channel));
  }
  return made;
}

/** Fill samples with others, by cubic interpolation (Catmull and Rom's). */
export function resample(from, to) {
  const step = from.length / to.length;
  const last = from.length - 1;
  for (let i = 0; i < to.length; i += 1) {
    const at = i * step;
    const whole = Math.floor(at);
    const t = at - whole;
    const a = from[Math.max(0, whole - 1)];
    const b = from[whole];
    const c = from[Math.min(last, whole + 1)];
    const d = from[Math.min(last, whole + 2)];
    to[i] = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  }
}
