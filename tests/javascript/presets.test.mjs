// Presets, and what the device's buttons ask for.

import assert from "node:assert/strict";
import { test } from "node:test";

import { commandsOf, silence } from "../../ezstems/static/mixer/media.js";
import { presetIn, presetsOf } from "../../ezstems/static/mixer/presets.js";

const lane = (stem, changes) => ({ stem, muted: false, solo: false, volume: 100, ...changes });

test("presets are of the stems that there are", () => {
  const ids = (...stems) => presetsOf(stems).map(({ id }) => id);
  assert.deepEqual(ids("vocals", "accompaniment"), ["everything", "karaoke", "a cappella"]);
  assert.deepEqual(ids("vocals", "drums", "bass", "other"), [
    "everything", "karaoke", "a cappella", "practise drums", "practise bass", "practise other",
  ]);
  const muted = Object.fromEntries(presetsOf(["vocals", "drums", "bass"]).map((preset) => [preset.id, preset.muted]));
  assert.deepEqual(muted.karaoke, ["vocals"]);
  assert.deepEqual(muted["a cappella"], ["drums", "bass"]);
  assert.deepEqual(muted["practise bass"], ["bass"]);
});

test("a preset is told by its mutes, whatever the volumes, and is none with a solo", () => {
  const presets = presetsOf(["vocals", "drums", "bass"]);
  const found = (...lanes) => presetIn(presets, lanes)?.id ?? null;
  assert.equal(found(lane("vocals", { volume: 40 }), lane("drums"), lane("bass")), "everything");
  assert.equal(found(lane("vocals", { muted: true }), lane("drums"), lane("bass")), "karaoke");
  assert.equal(found(lane("vocals", { solo: true }), lane("drums"), lane("bass")), null);
  assert.equal(found(lane("vocals", { muted: true }), lane("drums", { muted: true }), lane("bass")), null);
});

test("the device's buttons ask for what the mixer does", () => {
  let isPlaying = false;
  const asked = (action, details = {}) => commandsOf(() => isPlaying)[action](details);
  assert.deepEqual(asked("play"), { do: "toggle" });
  assert.equal(asked("pause"), null);
  isPlaying = true;
  assert.equal(asked("play"), null, "it plays already");
  assert.deepEqual(asked("pause"), { do: "toggle" });
  assert.deepEqual(asked("stop"), { do: "toggle" });
  assert.deepEqual(asked("nexttrack"), { do: "skip", seconds: 5 });
  assert.deepEqual(asked("previoustrack"), { do: "skip", seconds: -5 });
  assert.deepEqual(asked("seekbackward", { seekOffset: 10 }), { do: "skip", seconds: -10 });
  assert.deepEqual(asked("seekforward"), { do: "skip", seconds: 5 });
  assert.deepEqual(asked("seekto", { seekTime: 0 }), { do: "seek", seconds: 0 });
  assert.equal(asked("seekto"), null);
});

test("the silence is a WAV file of ten seconds of nothing", async () => {
  const bytes = new Uint8Array(await silence().arrayBuffer());
  const text = (start, end) => String.fromCharCode(...bytes.subarray(start, end));
  assert.deepEqual([text(0, 4), text(8, 16), text(36, 40)], ["RIFF", "WAVEfmt ", "data"]);
  const view = new DataView(bytes.buffer);
  assert.equal(view.getUint32(4, true), bytes.length - 8);
  assert.equal(view.getUint32(40, true) / view.getUint32(28, true), 10);
  assert.ok(bytes.subarray(44).every((sample) => sample === 128));
});
