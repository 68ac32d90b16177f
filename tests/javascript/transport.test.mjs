// The transport on a clock that the test turns: every stem at the same frame, none lost, none twice.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Offline } from "../../ezstems/static/http.js";
import { CHUNK_FRAMES } from "../../ezstems/static/mixer/plan.js";
import { RATE_HZ } from "../../ezstems/static/mixer/time.js";
import { NO_SOUND, Transport } from "../../ezstems/static/mixer/transport.js";
import { Output, settle } from "./output.mjs";

const LENGTH = 60 * RATE_HZ + 17;
let output, chunks, transport, states, problems, nowMs;

const run = (...how) => output.run(transport, ...how);

beforeEach(() => {
  [output, states, problems, nowMs] = [new Output(), [], [], 0];
  chunks = { read: async (pieces) => pieces, abandon() {} };
  transport = new Transport(chunks, output, LENGTH, {
    changed: () => states.push(transport.state),
    failed: (problem) => problems.push(problem?.message ?? null),
    now: () => nowMs,
  });
});

test("it plays the song once, without a gap, and stops at its end", async () => {
  await transport.play();
  await run(70);
  const [[, start, frames], ...more] = output.heard();
  assert.deepEqual([start, frames, more], [0, LENGTH, []]);
  assert.deepEqual([transport.state, transport.isPlaying, transport.position], ["paused", false, LENGTH]);
  assert.deepEqual(states, ["buffering", "playing", "paused"]);
  await transport.play();
  await run(1);
  assert.ok(transport.position > 0 && transport.position < RATE_HZ, "from the start again");
});

test("it schedules far enough ahead for a hidden page, and no further than it must", async () => {
  await transport.play();
  await settle();
  const ahead = (note) => note.at + note.pieces.reduce((sum, { start, end }) => sum + end - start, 0) - output.frame;
  assert.ok(ahead(output.started.at(-1)) >= 8 * RATE_HZ);
  assert.ok(ahead(output.started.at(-1)) <= 8 * RATE_HZ + 2 * CHUNK_FRAMES);
  await run(30, 5);
  assert.equal(output.heard().length, 1, "timers that come every five seconds are enough");
});

test("it pauses and goes on at the same frame", async () => {
  await transport.play();
  await run(3);
  transport.pause();
  const { position } = transport;
  await run(2);
  assert.equal(transport.position, position);
  await transport.play();
  await run(3);
  const [first, second, ...more] = output.heard();
  assert.deepEqual([first[1], first[2], second[1], more], [0, position, position, []]);
});

test("it seeks while it plays and while it doesn't", async () => {
  transport.seek(1e9);
  assert.equal(transport.position, LENGTH);
  transport.seek(10 * RATE_HZ);
  assert.equal(transport.state, "paused");
  await transport.play();
  await run(2);
  transport.seek(30 * RATE_HZ);
  assert.equal(transport.position, 30 * RATE_HZ);
  await run(2);
  assert.deepEqual(output.heard().map(([, song]) => song), [10 * RATE_HZ, 30 * RATE_HZ]);
  transport.seek(LENGTH);
  assert.deepEqual([transport.state, transport.position], ["paused", LENGTH]);
});

test("a loop wraps to the frame, and its end of being one doesn't interrupt", async () => {
  const loop = { start: 5 * RATE_HZ + 3, end: 7 * RATE_HZ + 11 };
  transport.setLoop(loop);
  transport.seek(6 * RATE_HZ);
  await transport.play();
  await run(9.5);
  transport.setLoop(null);
  await settle();
  await run(6);
  const heard = output.heard();
  assert.deepEqual(heard[0].slice(1), [6 * RATE_HZ, loop.end - 6 * RATE_HZ]);
  for (const round of heard.slice(1, -1)) assert.deepEqual(round.slice(1), [loop.start, loop.end - loop.start]);
  assert.ok(heard.at(-1)[2] > loop.end - loop.start, "on behind the loop's end");
  for (let i = 1; i < heard.length; i += 1) assert.equal(heard[i][0], heard[i - 1][0] + heard[i - 1][2], "no gap");
});

test("a loop that begins while the song plays takes effect, also where blocks are scheduled already", async () => {
  await transport.play();
  await run(2);
  transport.setLoop({ start: RATE_HZ, end: 3 * RATE_HZ });
  await settle();
  await run(6);
  const heard = output.heard();
  assert.deepEqual(heard[0].slice(1), [0, 3 * RATE_HZ]);
  assert.deepEqual(heard[1].slice(1), [RATE_HZ, 2 * RATE_HZ]);
});

test("a loop that begins just before its end takes effect, after a moment more than it holds", async () => {
  for (const end of [3 * RATE_HZ, LENGTH]) {
    const loop = { start: end - 2 * RATE_HZ, end };
    transport.seek(end - RATE_HZ);
    await transport.play();
    await run(0.9);
    transport.setLoop(loop);
    await settle();
    await run(5);
    const [first, second, third] = output.heard();
    const beyond = first[1] + first[2] - end;
    assert.ok(beyond >= 0 && beyond <= 0.2 * RATE_HZ, `${beyond} frames behind the end`);
    assert.deepEqual(second, [first[0] + first[2], loop.start, 2 * RATE_HZ], "no gap");
    assert.equal(third[1], loop.start);
    transport.pause();
    transport.setLoop(null);
    output.started = [];
  }
});

test("late data costs a pause of all stems, no frame", async () => {
  let release;
  chunks.read = async (pieces) => {
    if (pieces[0].start >= 2 * CHUNK_FRAMES) await new Promise((resolve) => (release = resolve));
    return pieces;
  };
  await transport.play();
  await run(20);
  assert.equal(transport.state, "buffering");
  assert.equal(transport.position, 2 * CHUNK_FRAMES, "the clock stands still");
  const wait = release;
  chunks.read = async (pieces) => pieces;
  wait();
  await run(10);
  const [first, second, ...more] = output.heard();
  assert.deepEqual([first[1], first[2], second[1], more], [0, 2 * CHUNK_FRAMES, 2 * CHUNK_FRAMES, []]);
  assert.deepEqual(states, ["buffering", "playing", "buffering", "playing"]);
});

test("where the clock stands still while the page works, what that takes is counted", async () => {
  const start = output.start.bind(output);
  output.start = (pieces, at) => {
    nowMs += 200;
    return start(pieces, at);
  };
  await transport.play();
  for (let turns = 0; turns < 4; turns += 1) await settle();
  const begun = output.started.filter(({ until }) => until > 0);
  const lates = output.started.length - begun.length;
  assert.ok(lates >= 2, "a lead of less than 200 ms is too late");
  assert.ok(begun[0].at >= output.frame + 0.2 * (lates + 1) * RATE_HZ);
  await run(20);
  assert.equal(output.heard().length, 1, "and what follows, follows");
});

test("stems that would have begun apart are scheduled once more", async () => {
  const start = output.start.bind(output);
  let isBusy = true;
  output.start = (pieces, at) => {
    const handle = start(pieces, at);
    if (isBusy) output.frame = at + 5; // the page was kept from running while it scheduled
    isBusy = false;
    return handle;
  };
  await transport.play();
  await run(2);
  const [first, second] = output.started;
  assert.equal(first.until, 0);
  assert.ok(second.at > first.at && second.until === Infinity);
  assert.deepEqual(second.pieces, first.pieces);
});

test("data of before a jump isn't played after it", async () => {
  const waiting = [];
  chunks.read = (pieces) => new Promise((resolve) => waiting.push(() => resolve(pieces)));
  await transport.play();
  await settle();
  transport.seek(20 * RATE_HZ);
  await settle();
  for (const answer of waiting) answer();
  await settle();
  assert.equal(output.started.length, 1);
  assert.equal(output.started[0].pieces[0].start, 20 * RATE_HZ);
});

test("what can't be fetched stops it, in words; it can be tried again", async () => {
  chunks.read = async () => {
    throw new Error("no connection");
  };
  await transport.play();
  await settle();
  assert.deepEqual(problems, ["no connection"]);
  assert.equal(transport.state, "paused");
  chunks.read = async (pieces) => pieces;
  await transport.play();
  await run(1);
  assert.equal(transport.state, "playing");
});

test("a pause before the sound card is ready leaves it at that", async () => {
  let ready;
  output.wake = () => new Promise((resolve) => (ready = resolve));
  const played = transport.play();
  transport.seek(RATE_HZ);
  transport.pause();
  ready();
  await played;
  await settle();
  assert.equal(output.started.length, 0);
  assert.deepEqual([transport.state, transport.position], ["paused", RATE_HZ]);
});

test("what the lost connection held up goes on when it is back", async () => {
  const read = chunks.read;
  let isLost = true;
  chunks.read = async (pieces) => {
    if (isLost && pieces[0].start >= 2 * CHUNK_FRAMES) {
      // The browser tells as soon as it has it again.
      setTimeout(() => {
        isLost = false;
        page.dispatchEvent(new Event("online"));
      }, 5);
      throw new Offline("no connection");
    }
    return read(pieces);
  };
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  try {
    await transport.play();
    await run(1);
    while (problems.length < 2) await settle();
  } finally {
    delete globalThis.addEventListener;
  }
  await run(20);
  assert.deepEqual(problems, ["no connection", null], "said, then taken back");
  assert.equal(transport.state, "playing");
  const [first, ...more] = output.heard();
  assert.deepEqual([first[1], more], [0, []]);
});

test("a pause while the connection is lost is one for good", async () => {
  chunks.read = async () => {
    throw new Offline("no connection");
  };
  await transport.play();
  await settle();
  assert.deepEqual([problems, transport.isPlaying, transport.state], [["no connection"], true, "buffering"]);
  transport.pause();
  assert.deepEqual([transport.isPlaying, transport.state], [false, "paused"]);
});

/** Let time pass on the wall, whatever the output's clock does. */
function turn(seconds) {
  for (let i = 0; i < 5 * seconds; i += 1) {
    nowMs += 200;
    transport.tick();
  }
}

test("an output that never starts is said, and tried anew", async () => {
  let closed = 0;
  output.close = () => (closed += 1);
  output.wake = () => new Promise(() => {});
  transport.play();
  turn(3);
  assert.deepEqual([transport.state, transport.isStarting, problems], ["buffering", true, []]);
  nowMs += 3_600_000; // the machine slept: no reason to give up
  transport.tick();
  assert.deepEqual(problems, []);
  turn(1);
  assert.deepEqual([problems, transport.state, transport.isPlaying, closed], [[NO_SOUND], "paused", false, 1]);
  output.wake = async () => {};
  await transport.play();
  await run(1);
  assert.equal(transport.state, "playing");
});

test("so is one whose clock stops, or that can't be had", async () => {
  await transport.play();
  await run(1);
  turn(6);
  assert.deepEqual([problems, transport.state], [[NO_SOUND], "paused"]);
  output.wake = async () => {
    throw new DOMException("no hardware", "NotSupportedError");
  };
  await transport.play();
  assert.deepEqual([problems, transport.state], [[NO_SOUND, NO_SOUND], "paused"]);
});
