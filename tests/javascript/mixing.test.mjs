// Gains, the mix as a file, peaks, grains, and what is said of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { interleave } from "../../ezstems/static/mixer/decoded.js";
import { mixName, savedText } from "../../ezstems/static/mixer/download.js";
import { gainsOf } from "../../ezstems/static/mixer/gains.js";
import { Graph } from "../../ezstems/static/mixer/graph.js";
import { meterOf } from "../../ezstems/static/mixer/lane.js";
import { mix, mixdown } from "../../ezstems/static/mixer/mixdown.js";
import { BlobSource } from "../../ezstems/static/mixer/pcm.js";
import { columnsOf, decodePeaks } from "../../ezstems/static/mixer/peaks.js";
import { CHUNK_FRAMES } from "../../ezstems/static/mixer/plan.js";
import { FLOATS } from "../../ezstems/static/mixer/samples.js";
import { stepOf } from "../../ezstems/static/mixer/ruler.js";
import { GRAIN_FRAMES, windowed } from "../../ezstems/static/mixer/scrub.js";
import { parseHeader } from "../../ezstems/static/mixer/wavfile.js";

const lane = (changes) => ({ muted: false, solo: false, volume: 100, ...changes });
const ramp = (frames, step) =>
  new BlobSource(new Blob([Int16Array.from({ length: 2 * frames }, (_, i) => step * (i % 1000))]));

test("mute wins; where one is solo, only such are heard", () => {
  assert.deepEqual(gainsOf([lane(), lane({ volume: 50 })]), [1, 0.5]);
  assert.deepEqual(gainsOf([lane(), lane({ muted: true })]), [1, 0]);
  assert.deepEqual(gainsOf([lane(), lane({ solo: true }), lane({ solo: true, muted: true })]), [0, 1, 0]);
});

test("a mix is rounded once and clipped like a stem", () => {
  const stems = [new Int16Array([1, 30_000, -30_000, 3]), new Int16Array([1, 30_000, -30_000, 0])];
  const { mixed, clipped } = mix(stems, [0.5, 1]);
  assert.deepEqual([...mixed], [2, 32_767, -32_768, 2]);
  assert.equal(clipped, 2);
  const full = [new Int16Array([16_384, -16_384, 16_384, -16_384]), new Int16Array([16_384, -16_384, 16_385, -16_385])];
  assert.deepEqual([...mix(full, [1, 1]).mixed], [32_767, -32_768, 32_767, -32_768]);
  assert.equal(mix(full, [1, 1]).clipped, 2, "what is louder than full scale, not full scale itself");
});

test("the file holds every frame of what is heard", async () => {
  const length = CHUNK_FRAMES + 77;
  const told = [];
  const options = { tell: (done) => told.push(done), signal: new AbortController().signal };
  const { blob, clipped } = await mixdown([ramp(length, 1), ramp(length, 5), ramp(9, 2)], [1, 0, 2], length, options);
  const bytes = await blob.arrayBuffer();
  const header = parseHeader(bytes);
  assert.equal(header.dataBytes, 4 * length);
  assert.equal(bytes.byteLength, header.dataOffset + header.dataBytes);
  const pcm = new Int16Array(bytes, header.dataOffset);
  assert.deepEqual([...pcm.subarray(16, 20)], [16 + 64, 17 + 68, 18, 19]);
  assert.equal(pcm.at(-1), (2 * length - 1) % 1000);
  assert.equal(clipped, 0);
  assert.deepEqual([told.length, told.at(-1)], [2, 1]);
});

const floats = (pcm) => ({
  frames: pcm.length / 2,
  kind: FLOATS,
  read: async (start, end) => pcm.slice(2 * start, 2 * end),
});

test("a mix of floats is one of floats, which nothing clips", async () => {
  const loud = Float32Array.from({ length: 200 }, (_, i) => (i % 2 ? -2.5 : 2.5) + i / 1024);
  const signal = new AbortController().signal;
    const { blob, clipped } = await mixdown([floats(loud), floats(loud)], [1, 0.5], 100, { tell: () => {}, signal });
  const bytes = await blob.arrayBuffer();
  const header = parseHeader(bytes);
  assert.deepEqual([header.code, header.bits, header.dataBytes, clipped], [3, 32, 800, 0]);
  assert.equal(bytes.byteLength, header.dataOffset + header.dataBytes);
  assert.deepEqual(new Float32Array(bytes.slice(header.dataOffset)), loud.map((value) => 1.5 * value));
});

test("what sounds is the samples, of both kinds at their full scale", () => {
  globalThis.AudioBuffer = class {
    constructor({ length }) {
      this.channels = [new Float32Array(length), new Float32Array(length)];
    }
    getChannelData(channel) {
      return this.channels[channel];
    }
  };
  const parts = [[new Int16Array([16_384, -32_768]), new Int16Array([0, 8192])], [new Float32Array([0.5, -1, 2, -2])]];
  const [integers, floats] = new Graph(2).prepare(parts);
  assert.deepEqual(integers.channels.map((channel) => [...channel]), [[0.5, 0], [-1, 0.25]]);
  assert.deepEqual(floats.channels.map((channel) => [...channel]), [[0.5, 2], [-1, -2]]);
});

test("a mix can be cancelled, and one of silence isn't made", async () => {
  const abort = new AbortController();
  const options = { tell: () => abort.abort(), signal: abort.signal };
  await assert.rejects(mixdown([ramp(3 * CHUNK_FRAMES, 1)], [1], 3 * CHUNK_FRAMES, options), { name: "AbortError" });
  await assert.rejects(mixdown([ramp(9, 1)], [0], 9, options), /nothing to mix/);
  await assert.rejects(mixdown([ramp(9, 1)], [1], 2 ** 31, options), /4 GB/);
});

test("the file's name and the words for clipping", () => {
  assert.equal(mixName("My song.v2.MP3"), "My song.v2 mix.wav");
  assert.equal(mixName("noise"), "noise mix.wav");
  assert.match(savedText("a mix.wav", 0), /^Saved as “a mix.wav”\.$/);
  assert.match(savedText("a mix.wav", 1), /1 sample was louder/);
  assert.match(savedText("a mix.wav", 1234), /1,234 samples were louder/);
});

test("floats become 16 bits exactly, and back", () => {
  const values = [0, 1 / 32768, -1, 32767 / 32768, 1, -2];
  assert.deepEqual([...interleave(values, values)].filter((_, i) => i % 2), [0, 1, -32768, 32767, 32767, -32768]);
});

test("a Blob is read by frames", async () => {
  const source = ramp(10, 1);
  assert.equal(source.frames, 10);
  assert.deepEqual([...(await source.read(2, 4))], [4, 5, 6, 7]);
});

test("peaks: a byte each, the loudest of a column, a flat line without any", () => {
  const peaks = decodePeaks(btoa(String.fromCharCode(0, 51, 255, 102)));
  assert.deepEqual([...peaks], [0, 51, 255, 102]);
  const rounded = (columns) => [...columnsOf(peaks, columns)].map((value) => Number(value.toFixed(2)));
  assert.deepEqual(rounded(2), [0.2, 1]);
  assert.deepEqual(rounded(3), [0, 0.2, 1]);
  assert.deepEqual(rounded(8), [0, 0, 0.2, 0.2, 1, 1, 0.4, 0.4]);
  assert.deepEqual([...columnsOf(new Uint8Array(), 3)], [0, 0, 0]);
});

test("the ruler's labels don't touch", () => {
  assert.deepEqual([[20, 900], [20, 300], [180, 900], [600, 300], [7200, 300], [36_000, 300]].map((of) => stepOf(...of)), [2, 5, 15, 300, 1800, 10_800]);
});

test("grains that overlap by half add up to the song", () => {
  const pcm = new Int16Array(2 * GRAIN_FRAMES).fill(10_000);
  const grain = windowed(pcm);
  assert.deepEqual([grain[0], grain[1]], [0, 0]);
  const half = GRAIN_FRAMES / 2;
  for (let frame = 0; frame < half; frame += 100) {
    const sum = grain[2 * frame] + grain[2 * Math.floor(frame + half)];
    assert.ok(Math.abs(sum - 10_000) < 20, `${sum}`);
  }
});

test("a meter goes by decibels", () => {
  assert.deepEqual([0, 1, 0.001, 0.0001].map(meterOf), [0, 1, 0, 0]);
  assert.ok(Math.abs(meterOf(10 ** -1.5) - 0.5) < 1e-9);
});
