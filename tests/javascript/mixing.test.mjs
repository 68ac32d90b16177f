// Gains, an export's fields, peaks, grains, and what is said of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { interleave } from "../../ezstems/static/mixer/decoded.js";
import { excessDb, fieldsOf } from "../../ezstems/static/mixer/export.js";
import { gainsOf } from "../../ezstems/static/mixer/gains.js";
import { Graph } from "../../ezstems/static/mixer/graph.js";
import { meterOf } from "../../ezstems/static/mixer/lane.js";
import { BlobSource } from "../../ezstems/static/mixer/pcm.js";
import { barStepOf, stepOf } from "../../ezstems/static/mixer/ruler.js";
import { GRAIN_FRAMES, windowed } from "../../ezstems/static/mixer/scrub.js";

const lane = (changes) => ({ muted: false, solo: false, volume: 100, ...changes });
const ramp = (frames, step) =>
  new BlobSource(new Blob([Int16Array.from({ length: 2 * frames }, (_, i) => step * (i % 1000))]));

test("mute wins; where one is solo, only such are heard", () => {
  assert.deepEqual(gainsOf([lane(), lane({ volume: 50 })]), [1, 0.5]);
  assert.deepEqual(gainsOf([lane(), lane({ muted: true })]), [1, 0]);
  assert.deepEqual(gainsOf([lane(), lane({ solo: true }), lane({ solo: true, muted: true })]), [0, 1, 0]);
});

test("an export's fields say the mix, and tempo and key where they were changed", () => {
  const gains = [["gain.vocals", "0.7"], ["gain.bass", "0"]];
  assert.deepEqual(fieldsOf(["vocals", "bass"], [0.7, 0]), gains);
  assert.deepEqual(fieldsOf(["vocals", "bass"], [0.7, 0], { tempo: 1, semitones: 0 }), gains);
  const changed = fieldsOf(["vocals", "bass"], [0.7, 0], { tempo: 1.1 - 0.2, semitones: -3 });
  assert.deepEqual(changed, [...gains, ["tempo", "0.9"], ["semitones", "-3"]]);
});

test("a mix may be as far above full scale as its stems' peaks are together, where one is made louder", () => {
  const stems = [Uint8Array.of(255, 100, 0), Uint8Array.of(51, 155, 204)];
  const rounded = (...of) => Number(excessDb(...of).toFixed(3));
  assert.equal(rounded(stems, [1, 1]), 0, "as they are, they are the song");
  assert.equal(rounded(stems, [1.5, 0.5]), 4.082); // 1.5 + 0.1
  assert.equal(rounded(stems, [0, 1.25]), 0); // 204 of 255 times that
  assert.equal(rounded(stems, [0, 1.5]), 1.584);
  assert.equal(rounded([new Uint8Array(), new Uint8Array()], [1.5, 1]), 0, "an older song's are unknown");
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

test("floats become 16 bits exactly, and back", () => {
  const values = [0, 1 / 32768, -1, 32767 / 32768, 1, -2];
  assert.deepEqual([...interleave(values, values)].filter((_, i) => i % 2), [0, 1, -32768, 32767, 32767, -32768]);
});

test("a Blob is read by frames", async () => {
  const source = ramp(10, 1);
  assert.equal(source.frames, 10);
  assert.deepEqual([...(await source.read(2, 4))], [4, 5, 6, 7]);
});

test("the ruler's labels don't touch", () => {
  assert.deepEqual([[1, 840], [1, 340], [3, 300]].map((of) => stepOf(...of)), [0.1, 0.2, 1]);
  assert.deepEqual([[20, 900], [20, 300], [180, 900], [600, 300], [7200, 300], [36_000, 300]].map((of) => stepOf(...of)), [2, 5, 15, 300, 1800, 10_800]);
});

test("bars are drawn, and numbered, as far as there is room", () => {
  assert.deepEqual([200, 40, 36, 35, 9, 4, 0.5].map((pixels) => barStepOf(pixels, 36)), [1, 1, 1, 2, 4, 16, 128]);
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
