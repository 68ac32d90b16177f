// Beats: guessed, corrected, counted; whatever a browser remembers of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bars, Beats, correctionsOf, guessOf, UNCORRECTED } from "../../ezstems/static/mixer/beats.js";
import { tapped } from "../../ezstems/static/mixer/taps.js";
import { RATE_HZ } from "../../ezstems/static/mixer/time.js";

const GUESS = { bpm: 120, beats: Array.from({ length: 20 }, (_, i) => 0.3 + i / 2) };
const near = (one, other, message) => assert.ok(Math.abs(one - other) < 1e-9, message ?? `${one} isn't ${other}`);
const corrected = (change, guess = GUESS) => new Beats(12, guess, { ...UNCORRECTED, ...change });

test("a guess goes on to both ends of the song, and before it", () => {
  const beats = new Beats(12, GUESS);
  const found = beats.between(0, 12);
  assert.equal(found.length, 24);
  found.forEach(({ second }, i) => near(second, 0.3 + i / 2));
  assert.deepEqual(found.slice(0, 6).map(({ bar, beat }) => [bar, beat]), [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2]]);
  const before = beats.between(-1.3, 0);
  assert.deepEqual(before.map(({ bar, beat }) => [bar, beat]), [[0, 2], [0, 3], [0, 4]]);
  assert.equal(beats.bpm, 120);
});

test("twice and half the tempo", () => {
  const twice = new Beats(12, GUESS, new Beats(12, GUESS).scaled(2));
  assert.equal(twice.bpm, 240);
  twice.between(0.2, 9).forEach(({ second }, i) => near(second, 0.3 + i / 4));
  const half = corrected(new Beats(12, GUESS).scaled(0.5));
  assert.equal(half.bpm, 60);
  half.between(0.2, 9).forEach(({ second }, i) => near(second, 0.3 + i));
  const other = corrected({ factor: 0.5, one: 0.8 });
  other.between(0.5, 9).forEach(({ second }, i) => near(second, 0.8 + i));
  assert.equal(other.between(0.5, 1)[0].beat, 1);
  assert.deepEqual(twice.scaled(2), twice.corrections, "480 BPM are none");
  assert.equal(corrected({ bpm: 90 }).scaled(0.5).bpm, 45);
});

test("a tempo of one's own is steady, whether or not one was guessed", () => {
  for (const [guess, first] of [[GUESS, 0.3], [null, 0]]) {
    const beats = corrected({ bpm: 90 }, guess);
    assert.equal(beats.bpm, 90);
    beats.between(first, 12).forEach(({ second, beat }, i) => {
      near(second, first + (i * 60) / 90);
      assert.equal(beat, (i % 4) + 1);
    });
  }
  const unknown = new Beats(12, null);
  assert.deepEqual([unknown.isKnown, unknown.bpm, unknown.between(0, 12)], [false, null, []]);
});

test("a bar begins on the beat that is near, or where one says", () => {
  const near1 = corrected(new Beats(12, GUESS).beginAt(1.35));
  assert.deepEqual(near1.between(1.2, 1.4).map(({ bar, beat }) => [bar, beat]), [[1, 1]]);
  near(near1.between(1.2, 1.4)[0].second, 1.3);
  const moved = corrected(new Beats(12, GUESS).beginAt(1.5));
  near(moved.between(1.4, 1.6)[0].second, 1.5);
  assert.equal(moved.between(1.4, 1.6)[0].beat, 1);
  const again = corrected(moved.beginAt(2.2)); // moved is 0.5, 1, 1.5, 2: 2.2 is between
  near(again.between(2.1, 2.3)[0].second, 2.2);
  const own = corrected(corrected({ bpm: 100 }).beginAt(3.57));
  near(own.between(3.5, 3.6)[0].second, 3.57);
  assert.equal(own.between(3.5, 3.6)[0].beat, 1);
  assert.deepEqual(corrected({ perBar: 3 }).between(0, 2.4).map(({ beat }) => beat), [1, 2, 3, 1, 2]);
});

test("bars are counted from the first that begins in the song, wherever one says that a bar begins", () => {
  assert.deepEqual(bars([0.5, 1, 1.5, 2, 2.5, 3, 3.5], 3, 1), [
    { frame: RATE_HZ, number: 1 },
    { frame: 2.5 * RATE_HZ, number: 2 },
  ]);
  assert.deepEqual(bars([0, 1, 2, 3, 4], 2, 4).map(({ number }) => number), [-1, 0, 1]);
  assert.deepEqual(bars([], 4, 0), []);
  const frames = (beats) => beats.bars.map(({ frame }) => frame / RATE_HZ);
  const guessed = new Beats(12, GUESS);
  assert.deepEqual(guessed.bars.map(({ number }) => number), [1, 2, 3, 4, 5, 6]);
  frames(guessed).forEach((second, i) => near(second, Math.round((0.3 + 2 * i) * RATE_HZ) / RATE_HZ));
  // A bar begins at 5.8: so does one at 1.8, the first, behind an upbeat of three.
  const moved = corrected(new Beats(12, GUESS).beginAt(5.8));
  assert.deepEqual(moved.bars[0], { frame: Math.round(1.8 * RATE_HZ), number: 1 });
  assert.deepEqual(moved.between(0, 2).map(({ bar, beat }) => [bar, beat]), [[0, 2], [0, 3], [0, 4], [1, 1]]);
  assert.equal(corrected({ bpm: 60, one: 0 }, null).bars.at(-1).frame, 8 * RATE_HZ, "one at the very end is none");
  assert.equal(corrected({ bpm: 60, one: 0 }, null).bars[0].frame, 0);
  assert.deepEqual(new Beats(12, null).bars, []);
});

test("a frame's nearest beat lies in the song", () => {
  const beats = corrected({ bpm: 60, one: 0.7 }, null);
  const nearest = (second) => beats.frameNear(second * RATE_HZ) / RATE_HZ;
  near(nearest(5.3), Math.round(5.7 * RATE_HZ) / RATE_HZ);
  near(nearest(5.1), Math.round(4.7 * RATE_HZ) / RATE_HZ);
  assert.equal(nearest(0), 0, "the beat is before it");
  assert.equal(nearest(12), Math.round(11.7 * RATE_HZ) / RATE_HZ);
  assert.equal(new Beats(12.1, null, { ...UNCORRECTED, bpm: 60, one: 0.3 }).frameNear(12 * RATE_HZ), Math.round(12.1 * RATE_HZ));
});

test("numbers and seconds are each other's inverse, between beats and beyond them", () => {
  const swaying = new Beats(12, { bpm: 120, beats: [0.5, 1.1, 1.5, 2.2, 2.6] });
  for (const second of [-2, 0.5, 0.8, 1.1, 2.5, 7.123, 11.9]) near(swaying.secondOf(swaying.numberAt(second)), second);
  near(swaying.secondOf(swaying.nearest(1.31)), 1.5);
  near(swaying.secondOf(swaying.nearest(1.29)), 1.1);
});

const taps = (seconds, change = () => 0) => seconds.map((second, i) => ({ ms: 7e5 + 1000 * second, second: second + change(i) }));

test("taps make a line, from the third on", () => {
  assert.equal(tapped(taps([1, 1.5])), null);
  const { bpm, one } = tapped(taps([1.02, 1.48, 2.01, 2.49, 3]));
  assert.ok(Math.abs(bpm - 120) < 1.5 && Math.abs(one - 1) < 0.02, `${bpm} ${one}`);
  assert.equal(tapped(taps([1, 1, 1])), null);
});

test("taps go on over a loop's jumps, at whatever tempo it plays", () => {
  const times = Array.from({ length: 20 }, (_, i) => i / 2);
  const { bpm, one } = tapped(taps(times, (i) => 10 - 2 * Math.floor(i / 4))); // round after round of four beats
  near(bpm, 120);
  near((one * 2) % 1, 0);
  const moved = tapped(taps(times, (i) => (i < 15 ? 3 : 40.1)));
  near(moved.bpm, 120);
  near((moved.one * 2) % 1, 0.2, "the last taps say where the beats are");
  const slow = tapped(times.map((time) => ({ ms: 1000 * time, second: 5.25 + 0.8 * time })), 0.8);
  near(slow.bpm, 150);
  near(slow.one, 5.25);
});

test("what no guess can be is none", () => {
  const none = { tempo: null, key: null };
  const bpm = 120;
  for (const beats of ["abc", null, [], [1], [3, 2, 1], [1, 1, 1], [1, 1 + 1e-9], [null, null], ["1", "2"], [1, NaN]]) {
    assert.deepEqual(guessOf({ tempo: { bpm, beats } }), none, String(beats));
  }
  for (const bpm of [null, "120", 0, 1e9, NaN]) assert.deepEqual(guessOf({ tempo: { bpm, beats: [1, 2] } }), none);
  for (const broken of [undefined, null, 7, {}, { tempo: 5, key: "x" }, { key: { name: 7 } }]) assert.deepEqual(guessOf(broken), none);
  assert.deepEqual(guessOf({ tempo: GUESS, key: { name: "E♭ minor" } }), { tempo: GUESS, key: { name: "E♭ minor" } });
  assert.deepEqual(guessOf({ tempo: null, key: { name: "C major" } }).key, { name: "C major" });
});

test("what no correction can be is none", () => {
  for (const broken of [null, 7, "x", [], { bpm: 1e9, factor: 3, shift: NaN, one: Infinity, perBar: 0, key: "H dur" }]) {
    assert.deepEqual(correctionsOf(broken), { ...UNCORRECTED });
  }
  assert.deepEqual(correctionsOf({ shift: "5", one: "3", bpm: "120" }), { ...UNCORRECTED });
  const kept = { bpm: 99.5, factor: 2, shift: -0.1, one: 4, perBar: 3, key: "E♭ minor" };
  assert.deepEqual(correctionsOf(kept), kept);
  for (const one of [-9e5, 9e5]) assert.ok(corrected({ bpm: 300, one }).between(0, 12).length > 55);
});
