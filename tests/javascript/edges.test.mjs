// The loop's ends, which are moved one by one.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { stepOfKey, stepped } from "../../ezstems/static/mixer/edges.js";
import { Loop } from "../../ezstems/static/mixer/loop.js";
import { MIN_LOOP_FRAMES } from "../../ezstems/static/mixer/plan.js";

const LENGTH = 1_000_000;
let transport, loop;

beforeEach(() => {
  transport = {
    position: 0,
    loop: undefined,
    setLoop(region) {
      this.loop = region;
    },
    seek(frame) {
      this.position = frame;
    },
  };
  loop = new Loop(transport, LENGTH, () => {});
  loop.mark(0.2, 0.4, true);
});

const ends = () => [loop.region.start, loop.region.end];

test("an end goes as far as the other lets it, and the song", () => {
  loop.move("start", 900_000, true);
  assert.deepEqual(ends(), [400_000 - MIN_LOOP_FRAMES, 400_000]);
  loop.move("end", 0, true);
  assert.deepEqual(ends(), [400_000 - MIN_LOOP_FRAMES, 400_000]);
  loop.move("start", -5, true);
  loop.move("end", 2 * LENGTH, true);
  assert.deepEqual(ends(), [0, LENGTH]);
  assert.deepEqual(loop.boundsOf("start"), { least: 0, most: LENGTH - MIN_LOOP_FRAMES });
  assert.deepEqual(loop.boundsOf("end"), { least: MIN_LOOP_FRAMES, most: LENGTH });
});

test("one that is dragged is played from when it is let go, and a cancelled drag leaves nothing behind", () => {
  const { loop: before, position } = transport;
  for (const frame of [250_000.4, 260_000]) loop.move("start", frame, false);
  assert.deepEqual(ends(), [260_000, 400_000]);
  assert.equal(transport.loop, before);
  loop.cancel();
  assert.deepEqual(ends(), [200_000, 400_000]);
  assert.deepEqual([transport.loop, transport.position], [before, position]);
  loop.move("end", 300_000, false);
  loop.move("end", 300_000, true);
  loop.cancel();
  assert.deepEqual(ends(), [200_000, 300_000], "what was let go is no drag any more");
  assert.deepEqual({ ...transport.loop }, { start: 200_000, end: 300_000 });
  loop.mark(0.5, 0.9, false);
  loop.cancel();
  assert.deepEqual(ends(), [200_000, 300_000]);
});

test("a loop that is off stays off while its ends move", () => {
  loop.toggle();
  loop.move("end", 500_000, true);
  assert.deepEqual([loop.isOn, transport.loop], [false, null]);
  loop.toggle();
  assert.deepEqual({ ...transport.loop }, { start: 200_000, end: 500_000 });
});

test("keys: a tenth, with Shift a hundredth, a page a second, or as far as it goes", () => {
  const step = (key, more) => stepOfKey({ key, ...more });
  assert.deepEqual(["ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"].map((key) => step(key)), [-0.1, -0.1, 0.1, 0.1]);
  assert.equal(step("ArrowRight", { shiftKey: true }), 0.01);
  assert.deepEqual(["PageDown", "PageUp", "Home", "End"].map((key) => step(key)), [-1, 1, -Infinity, Infinity]);
  for (const [key, more] of [["Tab"], ["m"], ["ArrowLeft", { altKey: true }]]) assert.equal(step(key, more), null);
});

test("a step on beats goes to the next one, however far that is", () => {
  const beat = (frame) => Math.max(0, Math.min(LENGTH, 22_050 * Math.round(frame / 22_050)));
  assert.equal(stepped(44_100, 4410, beat), 66_150);
  assert.equal(stepped(44_100, -441, beat), 22_050);
  assert.equal(stepped(0, -4410, beat), 0, "there is none before the first");
  assert.equal(stepped(100, 4410, (frame) => frame), 4510);
});
