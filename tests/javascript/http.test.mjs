// Requests: every failure in words, ranges of a WAV file, and what an upload's answer means.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { askJson, NOT_READY, Offline, outlast, persist, Problem, Refused, request, SessionEnded } from "../../ezstems/static/http.js";
import { WavSource } from "../../ezstems/static/mixer/pcm.js";
import { FLOATS, frameBytes, INTEGERS } from "../../ezstems/static/mixer/samples.js";
import { buildHeader } from "./headers.mjs";
import { outcome } from "../../ezstems/static/sending.js";

const realFetch = globalThis.fetch;
afterEach(() => (globalThis.fetch = realFetch));
const answer = (status, body) => (globalThis.fetch = async () => new Response(body, { status }));

test("an error's own words are shown", async () => {
  answer(400, JSON.stringify({ error: "Bad request", message: "stems='3' must be 2, 4 or 5." }));
  await assert.rejects(request("/upload"), { message: "stems='3' must be 2, 4 or 5." });
  answer(404, "<h1>Not found</h1>");
  await assert.rejects(request("/songs/1_2"), /no longer on the server/);
  answer(500, "<h1>Internal error</h1>");
  await assert.rejects(request("/songs"), /Try again/);
});

test("a proxy whose server doesn't answer is outlasted like a lost connection", async () => {
  const statuses = [502, 503, 504, 200];
  globalThis.fetch = async () => new Response("<h1>nginx</h1>", { status: statuses.shift() });
  const told = [];
  const response = await outlast(() => request("/songs"), { tell: (problem) => told.push(problem), delayMs: 0 });
  assert.equal(response.status, 200);
  assert.deepEqual(told.map(({ message }) => message), Array(3).fill(NOT_READY));
  assert.ok(told.every((problem) => problem instanceof Offline));
  answer(500, "<h1>Internal error</h1>");
  await assert.rejects(outlast(() => request("/songs"), { tell: assert.fail, delayMs: 0 }), Problem);
});

test("a session that ended, by 401 or by a redirect to the login, is told apart", async () => {
  answer(401, "{}");
  await assert.rejects(request("/songs/states"), SessionEnded);
  globalThis.fetch = async (_, { redirect }) => {
    assert.equal(redirect, "manual");
    return { ok: false, status: 0, type: "opaqueredirect" };
  };
  await assert.rejects(request("/songs/states"), SessionEnded);
});

test("a lost connection is one, an abort stays one", async () => {
  globalThis.fetch = async () => {
    throw new TypeError("fetch failed");
  };
  await assert.rejects(request("/songs"), Offline);
  globalThis.fetch = async () => {
    throw new DOMException("gone", "AbortError");
  };
  await assert.rejects(request("/songs"), { name: "AbortError" });
});

test("data is unwrapped; what isn't the API's shape is a problem", async () => {
  answer(200, JSON.stringify({ success: true, data: [1] }));
  assert.deepEqual(await askJson("/songs/states"), [1]);
  for (const body of ["<html>", "{}", "null"]) {
    answer(200, body);
    await assert.rejects(askJson("/songs/states"), Problem);
  }
});

test("only a lost connection is tried again, and not for ever", async () => {
  let attempts = 0;
  const failing = (kind) => async () => {
    attempts += 1;
    throw new kind("lost");
  };
  await assert.rejects(persist(failing(Offline), { delaysMs: [0, 0] }), Offline);
  assert.equal(attempts, 3);
  await assert.rejects(persist(failing(SessionEnded), { delaysMs: [0, 0] }), SessionEnded);
  assert.equal(attempts, 4);
  const abort = new AbortController();
  const waiting = persist(failing(Offline), { delaysMs: [60_000], signal: abort.signal });
  setTimeout(() => abort.abort(), 5);
  await assert.rejects(waiting, { name: "AbortError" });
});

/** Serve a WAV file of a kind of samples by ranges; `ranges` gets what is asked for. */
function serve(kind, pcm, ranges) {
  const header = buildHeader(pcm.length / 2, kind);
  const file = new Uint8Array(header.byteLength + pcm.byteLength);
  file.set(new Uint8Array(header));
  file.set(new Uint8Array(pcm.buffer), header.byteLength);
  globalThis.fetch = async (_, { headers }) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.Range);
    ranges.push([Number(first) - header.byteLength, Number(last) + 1 - header.byteLength]);
    const part = file.slice(Number(first), Number(last) + 1);
    const contentRange = `bytes ${first}-${Number(first) + part.length - 1}/${file.length}`;
    return new Response(part, { status: 206, headers: { "Content-Range": contentRange } });
  };
}

test("a WAV file is read by ranges, bit for bit, wherever its samples begin", async () => {
  for (const [kind, step] of [[INTEGERS, 1], [FLOATS, Math.fround(0.003)]]) {
    const ranges = [];
    const pcm = kind.array.from({ length: 2000 }, (_, i) => step * i);
    serve(kind, pcm, ranges);
    const source = await WavSource.open("/songs/1_2/stems/vocals");
    assert.deepEqual([source.frames, source.kind], [1000, kind]);
    assert.deepEqual(await source.read(10, 12), pcm.slice(20, 24));
    assert.deepEqual(await source.read(999, 1000), pcm.slice(1998));
    const bytes = frameBytes(kind);
    assert.deepEqual(ranges.slice(1), [[10 * bytes, 12 * bytes], [999 * bytes, 1000 * bytes]]);
  }
});

test("a server that knows no ranges isn't read to the end", async () => {
  let isCancelled = false;
  const body = { cancel: () => (isCancelled = true) };
  globalThis.fetch = async () => ({ ok: true, status: 200, headers: new Headers(), body });
  await assert.rejects(WavSource.open("/songs/1_2/stems/vocals"), /no ranges/);
  assert.ok(isCancelled);
});

test("an upload's answer", () => {
  assert.deepEqual(outcome(200, '{"success": true, "data": {"id": "1_2"}}'), { id: "1_2" });
  assert.throws(() => outcome(200, "<!doctype html><h1>Log in</h1>"), SessionEnded);
  assert.throws(() => outcome(401, '{"error": "Unauthorized", "message": "Send your API key"}'), SessionEnded);
  const full = '{"error": "Server full", "message": "The disk is full."}';
  assert.throws(() => outcome(500, full), { message: "The disk is full." });
  assert.throws(() => outcome(413, "<html>nginx</html>"), /too large/);
  assert.throws(() => outcome(502, "<html>nginx</html>"), /Try again/);
});

test("a file that won't do is told apart from what may go well the next time", () => {
  const failing = (status, error) => {
    try {
      outcome(status, JSON.stringify({ error, message: "words" }));
    } catch (problem) {
      return problem instanceof Refused;
    }
  };
  for (const error of ["Invalid audio file", "File too large"]) assert.equal(failing(400, error), true, error);
  assert.equal(failing(413, "whatever a proxy says"), true);
  for (const [status, error] of [[400, "Bad request"], [403, "Too many jobs"], [401, "Unauthorized"], [500, "Server full"]]) {
    assert.equal(failing(status, error), false, error);
  }
});

test("what waits for the connection goes on when it is back, unless nobody waits any more", async () => {
  const lost = new Offline("lost");
  const told = [];
  let attempts = 0;
  const attempt = async () => {
    attempts += 1;
    if (attempts < 4) throw lost;
    return "there";
  };
  assert.equal(await outlast(attempt, { tell: (problem) => told.push(problem), delayMs: 0 }), "there");
  assert.deepEqual(told, [lost, lost, lost]);
  let isWanted = true;
  const given = { tell: () => (isWanted = false), goesOn: () => isWanted, delayMs: 0 };
  attempts = 0;
  await assert.rejects(outlast(attempt, given), Offline);
  assert.equal(attempts, 1);
  const other = async () => {
    throw new Problem("gone");
  };
  await assert.rejects(outlast(other, { tell: assert.fail }), { message: "gone" });
  // The browser says that it has a connection long before the wait is over.
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  try {
    attempts = 3 - 1;
    const waiting = outlast(attempt, { tell: () => setTimeout(() => page.dispatchEvent(new Event("online"))), delayMs: 3e6 });
    assert.equal(await waiting, "there");
  } finally {
    delete globalThis.addEventListener;
  }
});
