// Comparing with the original: equally loud whatever the mix, measured on what was played.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Loudness, measured } from "../../ezstems/static/mixer/loudness.js";
import { Original } from "../../ezstems/static/mixer/original.js";

const FRAMES = 44_100;
const tone = (hertz, amplitude, kind = Float32Array) =>
  kind.from({ length: 2 * FRAMES }, (_, i) => amplitude * Math.sin((2 * Math.PI * hertz * (i >> 1)) / FRAMES));
const sum = (...parts) => parts[0].map((_, i) => parts.reduce((total, part) => total + part[i], 0));
const near = (actual, expected) => assert.ok(Math.abs(actual - expected) < 0.01 * expected, `${actual}, ${expected}`);
const piece = (start) => ({ start, end: start + FRAMES });

test("a mix of all stems is as loud as the original that they were made of", () => {
  const stems = [tone(440, 0.3), tone(440, 0.2), tone(97, 0.1)]; // two that add up, not only in their power
  const loudness = new Loudness(4);
  loudness.add([piece(0)], [...stems, sum(...stems)].map((pcm) => [pcm]));
  const { mix, original } = loudness.factors([1, 1, 1]);
  near(mix, 1);
  near(original, 1);
});

test("the louder one is turned down, never one up", () => {
  const stems = [tone(440, 0.3), tone(97, 0.4)];
  const loudness = new Loudness(3);
  loudness.add([piece(0)], [...stems, sum(...stems)].map((pcm) => [pcm]));
  const without = loudness.factors([0, 1]);
  near(without.original, 0.4 / 0.5);
  assert.equal(without.mix, 1);
  const louder = loudness.factors([1.5, 1.5]);
  near(louder.mix, 1 / 1.5);
  assert.equal(louder.original, 1);
});

test("integers and floats are measured alike", () => {
  const loudness = new Loudness(2);
  loudness.add([piece(0)], [[tone(440, 8192, Int16Array)], [tone(440, 0.5)]]);
  near(loudness.factors([1]).original, 0.5);
});

test("a repeated loop counts once; silence, and what wasn't heard yet, is no measure", async () => {
  const loudness = new Loudness(2);
  const nothing = { mix: 1, original: 1 };
  assert.deepEqual(loudness.factors([1]), nothing);
  const loud = [[tone(440, 0.4)], [tone(440, 0.4)]];
  const quiet = [[tone(440, 0.2)], [tone(440, 0.4)]];
  const answers = [loud, quiet, quiet, quiet];
  const chunks = measured({ read: async () => answers.shift() }, loudness);
  assert.equal(await chunks.read([piece(0)]), loud);
  for (let round = 0; round < 3; round += 1) assert.equal(await chunks.read([piece(FRAMES)]), quiet);
  near(loudness.factors([1]).original, Math.sqrt((0.4 ** 2 + 0.2 ** 2) / (2 * 0.4 ** 2)));
  assert.deepEqual(loudness.factors([0]), nothing);
});

test("one of both is heard, and a changed mix is heard as it is", () => {
  const original = new Original(2);
  assert.deepEqual(original.gains([1, 0.5]), [1, 0.5, 0]);
  original.loudness.add([piece(0)], [[tone(440, 0.4)], [tone(97, 0)], [tone(440, 0.1)]]);
  assert.equal(original.toggle([1, 1]), "The original is heard");
  assert.deepEqual(original.gains([1, 1]), [0, 0, 1]);
  assert.equal(original.toggle([1, 1]), "Your mix is heard");
  const [first, second, last] = original.gains([1, 0.5]);
  near(first, 0.25);
  near(second, 0.125);
  assert.equal(last, 0);
  original.leave();
  assert.deepEqual(original.gains([1, 0.5]), [1, 0.5, 0]);
});
