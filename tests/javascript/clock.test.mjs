// The output's clock at a tempo: what joins in the song's frames joins in the card's.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock } from "../../ezstems/static/mixer/clock.js";
import { isPlain, PLAIN, shiftOf, stretchOf } from "../../ezstems/static/mixer/stretch.js";

test("at its own tempo the clock is the card's", () => {
  const clock = new Clock();
  for (const frame of [0, 1, 44100, 1e9]) {
    assert.equal(clock.at(frame), frame);
    assert.equal(clock.cardFrame(frame), frame);
  }
});

test("a tempo counts from where it was set, and nothing jumps", () => {
  const clock = new Clock();
  clock.setRate(0.5, 1000);
  assert.equal(clock.at(1000), 1000);
  assert.equal(clock.at(3000), 2000);
  clock.setRate(1.5, 3000);
  assert.equal(clock.at(3000), 2000);
  assert.equal(clock.at(5000), 5000);
  assert.equal(clock.cardFrame(5000), 5000);
});

test("blocks end in the card's frame in which the next begins, however many there are", () => {
  for (const tempo of [0.5, 0.73, 0.8, 1.1, 1.37, 1.5]) {
    const clock = new Clock();
    clock.setRate(tempo, 12345);
    let own = 20000;
    const began = clock.cardFrame(own);
    for (let block = 0; block < 500; block += 1) {
      const frames = 44100 + 37 * block;
      const rate = frames / (clock.cardFrame(own + frames) - clock.cardFrame(own));
      assert.ok(Math.abs(1200 * Math.log2(rate / tempo)) < 0.05, "of a cent");
      own += frames;
      assert.ok(Math.abs(clock.at(clock.cardFrame(own)) - own) <= tempo, "no drift");
    }
    assert.ok(Math.abs((own - 20000) / (clock.cardFrame(own) - began) / tempo - 1) < 1e-6);
  }
});

test("the pitch that a tempo moves is moved back, then to the key", () => {
  assert.equal(shiftOf({ tempo: 0.5, semitones: 0 }), 12);
  assert.equal(shiftOf({ tempo: 1, semitones: -3 }), -3);
  assert.ok(Math.abs(shiftOf({ tempo: 1.5, semitones: 2 }) + 5.01955) < 1e-4);
});

test("whatever was remembered, tempo and key are within their bounds", () => {
  for (const value of [null, undefined, 7, "x", {}, { tempo: 0.49, semitones: 7 }, { tempo: NaN, semitones: 0.5 }, { tempo: "1.2" }]) {
    assert.ok(isPlain(stretchOf(value)), JSON.stringify(value));
  }
  assert.deepEqual(stretchOf({ tempo: 0.8, semitones: -6 }), { tempo: 0.8, semitones: -6 });
  assert.deepEqual(stretchOf({ tempo: 2, semitones: 3 }), { tempo: PLAIN.tempo, semitones: 3 });
});
