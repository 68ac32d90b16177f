// WAV headers: what the server writes, what other programs write, and what is none.

import assert from "node:assert/strict";
import { test } from "node:test";

import { buildHeader, isStem, parseHeader } from "../../ezstems/static/mixer/wavfile.js";

const letters = (text) => [...text].map((letter) => letter.charCodeAt(0));
const number = (value, bytes) => Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256);
const chunk = (name, body) => [...letters(name), ...number(body.length, 4), ...body, ...(body.length % 2 ? [0] : [])];
const format = ({ code = 1, channels = 2, rateHz = 44_100, bits = 16 } = {}) => [
  ...number(code, 2),
  ...number(channels, 2),
  ...number(rateHz, 4),
  ...number((rateHz * channels * bits) / 8, 4),
  ...number((channels * bits) / 8, 2),
  ...number(bits, 2),
];
const file = (kind, ...chunks) =>
  new Uint8Array([...letters(kind), 0, 0, 0, 0, ...letters("WAVE"), ...chunks.flat()]).buffer;
const data = (bytes) => [...letters("data"), ...number(bytes, 4)];

test("the server's own header", () => {
  const header = parseHeader(file("RIFF", chunk("JUNK", Array(28).fill(0)), chunk("fmt ", format()), data(400)));
  assert.deepEqual(header, { code: 1, channels: 2, rateHz: 44_100, bits: 16, dataOffset: 80, dataBytes: 400 });
  assert.ok(isStem(header));
});

test("an RF64 file keeps its sizes in ds64", () => {
  const bytes = 5 * 2 ** 32 + 8;
  const sizes = [...number(bytes + 72, 8), ...number(bytes, 8), ...number(bytes / 4, 8), 0, 0, 0, 0];
  const header = parseHeader(file("RF64", chunk("ds64", sizes), chunk("fmt ", format()), data(0xffffffff)));
  assert.equal(header.dataOffset, 80);
  assert.equal(header.dataBytes, bytes);
});

test("chunks of odd length are padded, unknown ones passed over", () => {
  const others = [chunk("LIST", [1, 2, 3]), chunk("abcd", [1])];
  const header = parseHeader(file("RIFF", others[0], chunk("fmt ", format()), others[1], data(8)));
  assert.equal(header.dataOffset, 12 + 12 + 24 + 10 + 8);
});

test("the extensible format is what its sub-format says", () => {
  const subFormat = [...number(22, 2), ...number(16, 2), ...number(3, 4), 1, 0, ...Array(14).fill(0)];
  const extensible = [...format({ code: 0xfffe }), ...subFormat];
  assert.ok(isStem(parseHeader(file("RIFF", chunk("fmt ", extensible), data(4)))));
});

test("other formats are no stems", () => {
  for (const other of [{ code: 3, bits: 32 }, { channels: 1 }, { rateHz: 48_000 }, { bits: 24 }]) {
    assert.ok(!isStem(parseHeader(file("RIFF", chunk("fmt ", format(other)), data(4)))), JSON.stringify(other));
  }
});

test("what is no WAV file, or ends too early, is refused", () => {
  const cases = [
    [new ArrayBuffer(4), /no WAV/],
    [file("OggS"), /no WAV/],
    [file("RIFF", data(4)), /format comes after/],
    [file("RIFF", chunk("fmt ", format()), chunk("LIST", Array(40).fill(0))), /too late/],
  ];
  for (const [buffer, words] of cases) assert.throws(() => parseHeader(buffer), words);
});

test("a built header is parsed as what it was built for", () => {
  const header = parseHeader(buildHeader(1000));
  assert.deepEqual(header, { code: 1, channels: 2, rateHz: 44_100, bits: 16, dataOffset: 44, dataBytes: 4000 });
  assert.equal(new DataView(buildHeader(1000)).getUint32(4, true), 4036);
  assert.equal(buildHeader(2 ** 30), null, "beyond 4 GB");
  assert.notEqual(buildHeader((2 ** 32 - 40) / 4), null);
});
