// Blocks: contiguous, cut at chunks, wrapped at a loop's end to the frame.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CHUNK_FRAMES, frameIn, loopOf, planBlock } from "../../ezstems/static/mixer/plan.js";
import { MIN_BLOCK_FRAMES, MIN_LOOP_FRAMES } from "../../ezstems/static/mixer/plan.js";

const LENGTH = 10 * CHUNK_FRAMES + 1234;

/** Return the first frames that blocks play from a cursor on, as [start, end] pairs joined where they touch. */
function played(cursor, length, loop, frames) {
  const spans = [];
  for (let total = 0; cursor !== null && total < frames; ) {
    const block = planBlock(cursor, length, loop);
    assert.equal(block.frames, block.pieces.reduce((sum, { start, end }) => sum + end - start, 0));
    assert.ok(block.frames >= MIN_BLOCK_FRAMES || block.next === null);
    assert.ok(block.frames < MIN_BLOCK_FRAMES + CHUNK_FRAMES);
    for (const { start, end } of block.pieces) {
      assert.ok(start < end);
      assert.equal(Math.floor(start / CHUNK_FRAMES), Math.floor((end - 1) / CHUNK_FRAMES), "one chunk");
      if (spans.length && spans.at(-1)[1] === start) spans.at(-1)[1] = end;
      else spans.push([start, end]);
    }
    total += block.frames;
    cursor = block.next;
  }
  return spans;
}

test("without a loop the song is played once, whole", () => {
  for (const start of [0, 1, CHUNK_FRAMES - 1, CHUNK_FRAMES, 5 * CHUNK_FRAMES + 7, LENGTH - 1]) {
    assert.deepEqual(played(start, LENGTH, null, Infinity), [[start, LENGTH]]);
  }
});

test("nothing comes after the end", () => {
  assert.deepEqual(planBlock(LENGTH, LENGTH, null), { pieces: [], frames: 0, next: null });
});

test("a loop goes from its last frame to its first", () => {
  const loop = { start: CHUNK_FRAMES / 2, end: 3 * CHUNK_FRAMES + 5 };
  const rounds = played(100, LENGTH, loop, 10 * CHUNK_FRAMES);
  assert.deepEqual(rounds[0], [100, loop.end]);
  for (const round of rounds.slice(1, -1)) assert.deepEqual(round, [loop.start, loop.end]);
});

test("a loop that ends with a chunk, or with the song, wraps too", () => {
  for (const loop of [{ start: CHUNK_FRAMES, end: 2 * CHUNK_FRAMES }, { start: 3, end: LENGTH }]) {
    const rounds = played(loop.start, LENGTH, loop, 3 * (loop.end - loop.start));
    assert.deepEqual(rounds.slice(0, 3), Array(3).fill([loop.start, loop.end]));
  }
});

test("the shortest loop fills blocks that are long enough to be scheduled", () => {
  const loop = { start: 500, end: 500 + MIN_LOOP_FRAMES };
  const { pieces, frames, next } = planBlock(600, LENGTH, loop);
  assert.equal(next, loop.start);
  assert.ok(frames >= MIN_BLOCK_FRAMES && frames < MIN_BLOCK_FRAMES + MIN_LOOP_FRAMES);
  assert.deepEqual(pieces[0], { start: 600, end: loop.end });
});

test("who starts behind a loop plays to the end", () => {
  const loop = { start: 0, end: CHUNK_FRAMES };
  assert.deepEqual(played(loop.end, LENGTH, loop, Infinity), [[loop.end, LENGTH]]);
});

test("an offset in a block is a frame of the song", () => {
  const pieces = [{ start: 100, end: 150 }, { start: 20, end: 60 }];
  const frames = [-5, 0, 49, 50, 89, 90, 1000].map((offset) => frameIn(pieces, offset));
  assert.deepEqual(frames, [100, 100, 149, 20, 59, 60, 60]);
});

test("a loop's ends are ordered, rounded, inside the song, and far enough apart", () => {
  assert.deepEqual(loopOf(50_000.4, 10.6, 60_000), { start: 11, end: 50_000 });
  assert.deepEqual(loopOf(-5, 1e9, 60_000), { start: 0, end: 60_000 });
  assert.equal(loopOf(100, 100 + MIN_LOOP_FRAMES - 1, 60_000), null);
});
