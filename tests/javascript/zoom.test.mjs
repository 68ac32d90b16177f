// What is in sight of a song, and how sharply it is drawn.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Chunks } from "../../ezstems/static/mixer/chunks.js";
import { chunksOf, CloseUp } from "../../ezstems/static/mixer/close_up.js";
import { decodePeaks, FINE_FRAMES, finePeaksOf, StemPeaks } from "../../ezstems/static/mixer/peaks.js";
import { CHUNK_FRAMES } from "../../ezstems/static/mixer/plan.js";
import { INTEGERS } from "../../ezstems/static/mixer/samples.js";
import { RATE_HZ } from "../../ezstems/static/mixer/time.js";
import { followed, fractionOf, frameAt, MIN_FRAMES, moved, revealed, windowOf, zoomed } from "../../ezstems/static/mixer/window.js";

const LENGTH = 60 * RATE_HZ;
const WHOLE = { start: 0, frames: LENGTH };
const seconds = ({ start, frames }) => [start / RATE_HZ, frames / RATE_HZ];
const settle = () => new Promise((resolve) => setTimeout(resolve));

test("zoomed, a frame stays where it is, as far as the song goes", () => {
  const position = 21 * RATE_HZ;
  let window = WHOLE;
  for (const factor of [2, 1.3, 2, 4]) {
    const before = fractionOf(window, position);
    window = zoomed(window, factor, position, LENGTH);
    assert.ok(Math.abs(fractionOf(window, position) - before) < 1e-9);
    assert.ok(Math.abs(frameAt(window, before) - position) < 1e-6);
  }
  assert.deepEqual(seconds(zoomed(WHOLE, 2, 0, LENGTH)), [0, 30]);
  assert.deepEqual(seconds(zoomed(WHOLE, 2, LENGTH, LENGTH)), [30, 30]);
  assert.deepEqual(zoomed(window, 0.001, position, LENGTH), WHOLE);
  assert.deepEqual(zoomed(window, 0, position, LENGTH), WHOLE);
  assert.equal(zoomed(window, 1e6, position, LENGTH).frames, MIN_FRAMES);
  // A position out of sight isn't what somebody looks at: the middle is.
  assert.deepEqual(seconds(zoomed(windowOf(10 * RATE_HZ, 0, 10 * RATE_HZ, LENGTH), 2, 0, LENGTH)), [12.5, 5]);
  const short = RATE_HZ / 2; // a song of less than can be in sight
  assert.deepEqual(zoomed({ start: 0, frames: short }, 2, 0, short), { start: 0, frames: short });
});

test("a window never leaves the song", () => {
  const window = windowOf(10 * RATE_HZ, 0, 10 * RATE_HZ, LENGTH);
  for (const [to, start] of [[-5, 0], [20, 20], [55, 50], [1e9, 50], [-1e9, 0]]) {
    assert.deepEqual(seconds(moved(window, to * RATE_HZ, LENGTH)), [start, 10]);
  }
});

test("pages are turned shortly before their end, and for what isn't in sight", () => {
  const at = (start) => windowOf(start * RATE_HZ, 0, 10 * RATE_HZ, LENGTH);
  const turned = (window, position) => seconds(followed(window, position * RATE_HZ, LENGTH))[0];
  assert.deepEqual([10, 19.4].map((position) => turned(at(10), position)), [10, 10]);
  assert.equal(turned(at(10), 19.6), 19.1);
  assert.equal(turned(at(10), 2), 1.5, "a loop jumps back");
  assert.equal(turned(at(50), 59.9), 50, "nothing comes after the last page");
  assert.equal(revealed(at(10), 19.9 * RATE_HZ, LENGTH).start, 10 * RATE_HZ, "where somebody clicked stays");
  assert.deepEqual(seconds(revealed(at(10), 30 * RATE_HZ, LENGTH)), [29.5, 10]);
});

test("fine peaks are the highest absolute samples of both channels, in the server's scale, of both kinds", () => {
  assert.equal(CHUNK_FRAMES % FINE_FRAMES, 0, "no peak lies in two chunks");
  const pcm = new Int16Array(2 * (2 * FINE_FRAMES + 1));
  pcm[2 * FINE_FRAMES - 1] = -16_384; // the right channel of the first peak's last frame
  pcm[2 * FINE_FRAMES] = 3277;
  pcm[4 * FINE_FRAMES] = -32_768; // one frame of a third, in which the song ends
  assert.deepEqual([...finePeaksOf(pcm)], [128, 26, 255]);
  assert.deepEqual([...finePeaksOf(Float32Array.from(pcm, (value) => value / 16_384))], [255, 51, 255]);
});

test("peaks: a byte each, the loudest of a column, a flat line without any", () => {
  const peaks = new StemPeaks();
  assert.deepEqual([...peaks.columns(0, 10, 3)], [0, 0, 0]);
  const decoded = decodePeaks(btoa(String.fromCharCode(0, 51, 255, 102)));
  assert.deepEqual([...decoded], [0, 51, 255, 102]);
  peaks.setCoarse(decoded, 100);
  const rounded = (...of) => [...peaks.columns(...of)].map((value) => Number(value.toFixed(2)));
  assert.deepEqual(rounded(0, 200, 2), [0.2, 1]);
  assert.deepEqual(rounded(0, 400 / 3, 3), [0, 0.2, 1]);
  assert.deepEqual(rounded(0, 50, 8), [0, 0, 0.2, 0.2, 1, 1, 0.4, 0.4]);
  assert.deepEqual(rounded(200, 50, 5), [1, 1, 0.4, 0.4, 0], "a part of it, and what is behind the end");
  assert.deepEqual([99, 100, 101].map((frames) => peaks.needsFine(frames)), [true, false, false]);
});

test("where there are finer peaks they are drawn, across the chunks' seams, and the server's beside them", () => {
  const peaks = new StemPeaks();
  peaks.setCoarse(new Uint8Array(Math.ceil((3 * CHUNK_FRAMES) / 4096)).fill(255), 4096);
  const fine = new Uint8Array(CHUNK_FRAMES / FINE_FRAMES);
  fine[fine.length - 1] = 51;
  peaks.setFine(1, fine);
  const columns = (start, frames, count) => [...peaks.columns(start, frames, count)].map((value) => Number(value.toFixed(2)));
  assert.deepEqual(columns(2 * CHUNK_FRAMES - 3 * FINE_FRAMES, FINE_FRAMES, 5), [0, 0, 0.2, 1, 1]);
  assert.deepEqual(columns(2 * CHUNK_FRAMES - 3 * FINE_FRAMES, 2 * FINE_FRAMES, 2), [0, 1]);
  assert.deepEqual(columns(CHUNK_FRAMES - FINE_FRAMES, FINE_FRAMES, 2), [1, 0]);
  assert.deepEqual(columns(CHUNK_FRAMES, 4096, 2), [1, 1], "from afar the server's will do");
});

test("a close-up's chunks are read from the middle outwards, and never too many", () => {
  const of = (from, to) => chunksOf({ start: from * CHUNK_FRAMES, frames: (to - from) * CHUNK_FRAMES });
  assert.deepEqual(of(2, 5), [3, 2, 4]);
  assert.deepEqual(of(2.2, 2.9), [2]);
  assert.deepEqual(of(2.6, 4.1), [3, 2, 4]);
  assert.equal(of(10, 34).length, 24);
  assert.deepEqual(of(10, 34.1), []);
});

/** Stand for a lane's wave of a song of a hundred chunks, 100 columns wide. */
function wave() {
  const peaks = new StemPeaks();
  peaks.setCoarse(new Uint8Array(10_000), CHUNK_FRAMES / 100);
  return { peaks, columns: 100, drawn: 0, redraw() { this.drawn += 1; } };
}

test("a close-up reads a chunk at a time, only what is in sight, and nothing twice", async () => {
  const waves = [wave(), wave()];
  const asked = [];
  const read = (number, signal) =>
    new Promise((resolve, reject) => {
      asked.push({ number, signal, resolve: () => resolve([new Int16Array(2 * CHUNK_FRAMES).fill(32_767), new Int16Array(2 * CHUNK_FRAMES)]) });
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  const closeUp = new CloseUp(waves, { read, ready: Promise.resolve() });
  const show = (first, chunks) => closeUp.show({ start: first * CHUNK_FRAMES, frames: chunks * CHUNK_FRAMES });
  await settle();
  show(0, 100);
  assert.equal(asked.length, 0, "the server's peaks will do");
  show(10, 0.5);
  show(10, 0.9);
  assert.deepEqual(asked.map(({ number }) => number), [10]);
  show(20, 0.9);
  assert.ok(asked[0].signal.aborted, "somebody looks elsewhere");
  await settle();
  assert.deepEqual(asked.map(({ number }) => number), [10, 20]);
  show(19.5, 0.9);
  assert.ok(!asked[1].signal.aborted, "it is still in sight");
  asked[1].resolve();
  await settle();
  assert.deepEqual(asked.map(({ number }) => number), [10, 20, 19]);
  assert.deepEqual(waves.map(({ drawn }) => drawn), [1, 1]);
  assert.deepEqual(waves.map(({ peaks }) => peaks.columns(20.5 * CHUNK_FRAMES, FINE_FRAMES, 1)[0]), [1, 0]);
  show(20.05, 0.9);
  await settle();
  assert.ok(asked[2].signal.aborted);
  show(20.01, 0.9);
  await settle();
  assert.equal(asked.length, 3, "it is there");
  closeUp.close();
});

test("what can't be read leaves the close-up as it is, until somebody looks again", async () => {
  let attempts = 0;
  const read = async () => {
    attempts += 1;
    throw new Error("away");
  };
  const closeUp = new CloseUp([wave()], { read, ready: Promise.resolve() });
  await settle();
  const window = { start: 0, frames: 0.9 * CHUNK_FRAMES };
  for (const expected of [1, 2]) {
    closeUp.show(window);
    await settle();
    assert.equal(attempts, expected);
  }
});

test("what is kept for playing isn't fetched to be looked at; what is fetched to be looked at isn't kept", async () => {
  const reads = [];
  const source = (name) => ({
    kind: INTEGERS,
    frames: 2.5 * CHUNK_FRAMES,
    read: async (start, end) => {
      reads.push(`${name} ${start / CHUNK_FRAMES} ${end / CHUNK_FRAMES}`);
      return new Int16Array(2 * (end - start));
    },
  });
  const chunks = new Chunks([source("vocals"), source("drums"), source("original")], 2.5 * CHUNK_FRAMES);
  await chunks.read([{ start: CHUNK_FRAMES, end: CHUNK_FRAMES + 10 }]);
  assert.equal(reads.splice(0).length, 3);
  const kept = await chunks.readAside(1, 2);
  assert.deepEqual(kept.map(({ length }) => length), [2 * CHUNK_FRAMES, 2 * CHUNK_FRAMES]);
  assert.deepEqual(reads, []);
  for (let i = 0; i < 2; i += 1) {
    await chunks.readAside(2, 2);
    assert.deepEqual(reads.splice(0), ["vocals 2 2.5", "drums 2 2.5"]);
  }
});
