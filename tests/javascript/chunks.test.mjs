// Chunks: fetched once, all stems together, the last ones kept, abandoned and failed ones fetched anew.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Chunks, Lru, readAll } from "../../ezstems/static/mixer/chunks.js";
import { CHUNK_FRAMES } from "../../ezstems/static/mixer/plan.js";
import { FLOATS, INTEGERS } from "../../ezstems/static/mixer/samples.js";

const LENGTH = 20 * CHUNK_FRAMES;

/** Make a source whose frame n holds n and -n, both wrapped to 16 bits; `reads` notes what is asked for. */
function source(frames = LENGTH, { fails = () => false, kind = INTEGERS } = {}) {
  const reads = [];
  return {
    frames,
    kind,
    reads,
    async read(start, end, signal) {
      reads.push([start, end]);
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      if (fails()) throw new Error("lost");
      const pcm = new kind.array(2 * (end - start));
      for (let i = 0; i < end - start; i += 1) [pcm[2 * i], pcm[2 * i + 1]] = [start + i, -(start + i)];
      return pcm;
    },
  };
}

test("the cache keeps what was used last", () => {
  const cache = new Lru(2);
  cache.set("a", 1);
  cache.set("b", 2);
  cache.get("a");
  cache.set("c", 3);
  assert.deepEqual(cache.entries(), [["a", 1], ["c", 3]]);
  cache.delete("a");
  assert.equal(cache.get("a"), undefined);
});

test("pieces are cut out of chunks that are fetched once", async () => {
  const sources = [source(), source()];
  const chunks = new Chunks(sources, LENGTH);
  const pieces = [{ start: CHUNK_FRAMES - 2, end: CHUNK_FRAMES }, { start: CHUNK_FRAMES, end: CHUNK_FRAMES + 1 }];
  const stems = await chunks.read(pieces);
  assert.equal(stems.length, 2);
  const expected = new Int16Array([CHUNK_FRAMES - 2, -(CHUNK_FRAMES - 2), CHUNK_FRAMES - 1, -(CHUNK_FRAMES - 1)]);
  assert.deepEqual(stems[0][0], expected);
  assert.equal(stems[1][1].length, 2);
  await Promise.all([chunks.read(pieces), chunks.readFew(5, 7)]);
  for (const { reads } of sources) assert.deepEqual(reads, [[0, CHUNK_FRAMES], [CHUNK_FRAMES, 2 * CHUNK_FRAMES]]);
});

test("two who ask at once share one fetch", async () => {
  const one = source();
  const chunks = new Chunks([one], LENGTH);
  await Promise.all([chunks.read([{ start: 0, end: 1 }]), chunks.read([{ start: 1, end: 2 }])]);
  assert.equal(one.reads.length, 1);
});

test("memory doesn't grow with the song", async () => {
  const one = source();
  const chunks = new Chunks([one], LENGTH);
  const read = (number) => chunks.read([{ start: number * CHUNK_FRAMES, end: number * CHUNK_FRAMES + 1 }]);
  for (let number = 0; number < 20; number += 1) await read(number);
  await read(19);
  assert.equal(one.reads.length, 20);
  await read(0);
  assert.equal(one.reads.length, 21, "the first had made room");
});

test("a few frames are fetched alone where their chunk isn't there", async () => {
  const one = source();
  const [pcm] = await new Chunks([one], LENGTH).readFew(CHUNK_FRAMES - 1, CHUNK_FRAMES + 1);
  assert.deepEqual(one.reads, [[CHUNK_FRAMES - 1, CHUNK_FRAMES + 1]]);
  assert.equal(pcm.length, 4);
});

test("what failed is tried again, what was abandoned too", async () => {
  let isLost = true;
  const one = source(LENGTH, { fails: () => isLost });
  const chunks = new Chunks([one], LENGTH);
  const piece = { start: 0, end: 1 };
  await assert.rejects(chunks.read([piece]), /lost/);
  isLost = false;
  const abandoned = chunks.read([piece]);
  chunks.abandon();
  const again = chunks.read([piece]);
  await assert.rejects(abandoned, { name: "AbortError" });
  await again;
  await chunks.read([piece]);
  assert.equal(one.reads.length, 3);
});

test("the chunk that somebody jumped into isn't abandoned", async () => {
  const one = source();
  const chunks = new Chunks([one], LENGTH);
  const wanted = chunks.read([{ start: 0, end: 1 }]);
  const other = chunks.read([{ start: CHUNK_FRAMES, end: CHUNK_FRAMES + 1 }]);
  chunks.abandon(5);
  await assert.rejects(other, { name: "AbortError" });
  await wanted;
});

test("a stem that ends early is silent from there", async () => {
  const [long, short, over] = await readAll([source(10), source(6), source(2)], 4, 8);
  assert.deepEqual([...long], [4, -4, 5, -5, 6, -6, 7, -7]);
  assert.deepEqual([...short], [4, -4, 5, -5, 0, 0, 0, 0]);
  assert.deepEqual([...over], Array(8).fill(0));
});

test("what is silent is of the stem's own kind", async () => {
  for (const kind of [INTEGERS, FLOATS]) {
    const stems = await readAll([source(10, { kind }), source(6, { kind }), source(2, { kind })], 4, 8);
    for (const pcm of stems) assert.equal(pcm.constructor, kind.array);
  }
});
