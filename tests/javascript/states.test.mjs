// Polling: as long as something is active, through failures, never after the session; and the words for states.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { buttonText, sizeText, whyNot } from "../../ezstems/static/checks.js";
import { clockText, preciseText, spokenTime } from "../../ezstems/static/mixer/time.js";
import { isActive, spokenText, stateText, Watcher } from "../../ezstems/static/states.js";

const realFetch = globalThis.fetch;
const queued = { id: "1_2", status: "queued", queue_position: 3 };
const processing = { id: "1_2", status: "processing", progress: 42 };
const completed = { id: "1_2", status: "completed", progress: 100 };
let answers, shown, told, waits;

const list = (...items) => () => new Response(JSON.stringify({ success: true, data: items }));
const lost = () => {
  throw new TypeError("fetch failed");
};

function watcher(options = {}) {
  return new Watcher("/songs/states", {
    show: (items) => shown.push(items.map((item) => item.status).join()),
    tell: (problem) => told.push(problem?.constructor.name ?? null),
    sleep: async (milliseconds) => waits.push(milliseconds),
    ...options,
  });
}

beforeEach(() => {
  [answers, shown, told, waits] = [[], [], [], []];
  globalThis.fetch = async () => answers.shift()();
});
afterEach(() => (globalThis.fetch = realFetch));

test("it asks every second until nothing is active", async () => {
  answers = [list(queued), list(processing), list(processing, completed), list(completed)];
  await watcher().start();
  assert.deepEqual(shown, ["queued", "processing", "processing,completed", "completed"]);
  assert.deepEqual(waits, [1000, 1000, 1000]);
});

test("it asks less often while the server can't be reached, and goes on when it can", async () => {
  answers = [list(queued), lost, lost, lost, lost, lost, lost, list(processing), list()];
  await watcher().start();
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 1000]);
  assert.deepEqual(told, [null, ...Array(6).fill("Offline"), null, null]);
});

test("it stops when the session has ended", async () => {
  answers = [list(queued), () => new Response("{}", { status: 401 })];
  await watcher().start();
  assert.deepEqual(told, [null, "SessionEnded"]);
});

test("a song that comes while the last answer is on its way is asked for", async () => {
  let poll;
  answers = [
    async () => {
      await null;
      poll.start();
      return list(completed)();
    },
    list(queued),
    list(completed),
  ];
  poll = watcher();
  await poll.start();
  assert.deepEqual(shown, ["completed", "queued", "completed"]);
  answers = [list()];
  await poll.start();
  assert.equal(shown.length, 4, "it can be started again");
});

test("a page may say itself what it waits for", async () => {
  answers = [list(queued, { id: "9_4", status: "queued" }), list(completed, { id: "9_4", status: "queued" })];
  await watcher({ goesOn: (items) => isActive(items[0]) }).start();
  assert.equal(shown.length, 2);
});

test("states in words", () => {
  assert.equal(stateText(queued), "Waiting: number 3 in the queue");
  assert.equal(stateText({ ...queued, queue_position: 1 }), "Waiting: next in the queue");
  assert.equal(stateText(processing), "Separating: 42 %");
  assert.equal(stateText(completed), "Done");
  assert.equal(stateText({ status: "failed", error: "The file holds no audio." }), "The file holds no audio.");
});

test("a screen reader hears of a quarter, not of each percent", () => {
  const heard = new Set(Array.from({ length: 101 }, (_, progress) => spokenText({ ...processing, progress })));
  assert.equal(heard.size, 5);
});

test("files are checked by the server's limits", () => {
  const limits = { maxBytes: 30 * 1024 ** 2, extensions: ["mp3", "wav", "m4a"] };
  const check = (name, size) => whyNot({ name, size }, limits);
  for (const name of ["a.mp3", "a.b.WAV", "ü ?.m4A", " a.mp3 ", "a.m\u200ep3", "..mp3"]) assert.equal(check(name, 30 * 1024 ** 2), null);
  for (const name of ["a.ogg", "mp3", "a.mp3.zip", "a.", ".mp3", " .mp3"]) {
    assert.equal(check(name, 1), "Its name must end in .mp3, .wav or .m4a.");
  }
  assert.equal(check("a.mp3", 0), "It is empty.");
  assert.equal(check("a.mp3", 30 * 1024 ** 2 + 1), "It is 30.1 MB; your plan allows 30 MB a file.");
});

test("sizes, in what there is at least one of", () => {
  const sizes = { 0: "0 bytes", 1: "1 byte", 44: "44 bytes", 1024: "1 KB", [100 * 1024]: "100 KB", [2.5 * 1024 ** 2]: "2.5 MB" };
  for (const [bytes, text] of Object.entries(sizes)) assert.equal(sizeText(Number(bytes)), text);
  assert.deepEqual([1024 ** 2 - 513, 1024 ** 2 - 1].map(sizeText), ["1023 KB", "1.0 MB"]);
});

test("the button says what it does", () => {
  assert.deepEqual([0, 1, 3].map(buttonText), ["Separate", "Separate 1 song", "Separate 3 songs"]);
});

test("times, written and read aloud", () => {
  assert.deepEqual([0, 59.9, 61, 600, 3723].map(clockText), ["0:00", "0:59", "1:01", "10:00", "1:02:03"]);
  assert.deepEqual([0, 59.96, 61.25].map(preciseText), ["0:00.0", "1:00.0", "1:01.3"]);
  assert.equal(spokenTime(61, 245), "1 minute 1 second of 4 minutes 5 seconds");
  assert.equal(spokenTime(5.9, 3600), "5 seconds of 1 hour 0 minutes 0 seconds");
});
