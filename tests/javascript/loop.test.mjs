// A loop, made while the song plays and while it doesn't: what it repeats is heard, from wherever one was.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Loop } from "../../ezstems/static/mixer/loop.js";
import { RATE_HZ } from "../../ezstems/static/mixer/time.js";
import { Transport } from "../../ezstems/static/mixer/transport.js";
import { Output } from "./output.mjs";

const LENGTH = 60 * RATE_HZ;
let output, transport, loop;

const run = (...how) => output.run(transport, ...how);

beforeEach(() => {
  output = new Output();
  const chunks = { read: async (pieces) => pieces, abandon() {} };
  transport = new Transport(chunks, output, LENGTH, { changed() {}, failed: assert.fail });
  loop = new Loop(transport, LENGTH, () => {});
});

/** Play, and assert that nothing but the loop is heard, several times. */
async function assertLoops(start, end) {
  await transport.play();
  await run(3 * (end - start));
  const heard = output.heard();
  assert.ok(heard.length >= 3);
  for (const [, song, frames] of heard) {
    assert.ok(song >= start * RATE_HZ && song + frames <= end * RATE_HZ, `${song / RATE_HZ} + ${frames / RATE_HZ}`);
  }
}

test("one that is drawn in a paused song, behind or before the position, loops", async () => {
  for (const position of [40, 5, 60]) {
    transport.seek(position * RATE_HZ);
    loop.mark(12 / 60, 10 / 60, true);
    assert.equal(transport.position, 10 * RATE_HZ, "it can be seen where Play begins");
    await assertLoops(10, 12);
    transport.pause();
    output.started = [];
  }
});

test("a position inside is kept", () => {
  transport.seek(11 * RATE_HZ);
  loop.mark(10 / 60, 12 / 60, true);
  assert.equal(transport.position, 11 * RATE_HZ);
  loop.mark(10.5 / 60, 40 / 60, false);
  assert.equal(transport.position, 11 * RATE_HZ, "one that is still being drawn isn't played yet");
});

test("one that is switched on again loops, too, as does one that ends here", async () => {
  loop.mark(10 / 60, 12 / 60, true);
  loop.toggle();
  transport.seek(30 * RATE_HZ);
  assert.equal(transport.position, 30 * RATE_HZ);
  loop.toggle();
  await assertLoops(10, 12);
  transport.pause();
  output.started = [];
  transport.seek(20 * RATE_HZ);
  loop.setStart(20 * RATE_HZ);
  transport.seek(22 * RATE_HZ);
  loop.setEnd(22 * RATE_HZ);
  await assertLoops(20, 22);
});
