// A sound in more frames or fewer.

import assert from "node:assert/strict";
import { test } from "node:test";

import { resample } from "../../ezstems/static/mixer/resample.js";

const RATES = [0.5, 0.53, 0.8, 1, 1.37, 1.5];
const FRAMES = 4410;

const made = (from, rate) => {
  const to = new Float32Array(Math.round(from.length / rate));
  resample(from, to);
  return to;
};

test("what doesn't change doesn't, from the first frame to the last", () => {
  for (const rate of RATES) assert.ok(made(new Float32Array(FRAMES).fill(0.5), rate).every((value) => value === 0.5));
});

test("a tone is the same tone, slower or faster", () => {
  const step = (2 * Math.PI * 1000) / 44100;
  const tone = Float32Array.from({ length: FRAMES }, (_, i) => Math.sin(step * i));
  for (const rate of RATES) {
    const to = made(tone, rate);
    const exact = tone.length / to.length;
    // At its ends the curve knows but one neighbour.
    const worst = Math.max(...to.subarray(4, -4).map((value, i) => Math.abs(value - Math.sin(step * exact * (i + 4)))));
    assert.ok(worst < 0.002, `${rate}: ${worst}`);
  }
});

test("a sound and its opposite stay opposites, so that stems cancel out", () => {
  const noise = Float32Array.from({ length: FRAMES }, (_, i) => Math.sin(i * i));
  const opposite = noise.map((value) => -value);
  for (const rate of RATES) {
    const other = made(opposite, rate);
    assert.ok(made(noise, rate).every((value, i) => value + other[i] === 0));
  }
});

test("as many frames are the very same", () => {
  const noise = Float32Array.from({ length: FRAMES }, (_, i) => Math.sin(i * i));
  assert.deepEqual(made(noise, 1), noise);
});
