// WAV headers: what the server writes, what other programs write, and what is none.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FLOATS, INTEGERS } from "../../ezstems/static/mixer/samples.js";
import { kindOfStem, parseHeader } from "../../ezstems/static/mixer/wavfile.js";
import { buildHeader } from "./headers.mjs";

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
  assert.equal(kindOfStem(header), INTEGERS);
});

test("the server's header of floats", () => {
  const floats = [...format({ code: 3, bits: 32 }), 0, 0];
  const chunks = [chunk("JUNK", Array(28).fill(0)), chunk("fmt ", floats), chunk("fact", number(50, 4)), data(400)];
  const header = parseHeader(file("RIFF", ...chunks));
  assert.deepEqual(header, { code: 3, channels: 2, rateHz: 44_100, bits: 32, dataOffset: 94, dataBytes: 400 });
  assert.equal(kindOfStem(header), FLOATS);
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
  for (const kind of [INTEGERS, FLOATS]) {
    const { code, bits } = kind;
    const subFormat = [...number(22, 2), ...number(bits, 2), ...number(3, 4), code, 0, ...Array(14).fill(0)];
    const extensible = [...format({ code: 0xfffe, bits }), ...subFormat];
    assert.equal(kindOfStem(parseHeader(file("RIFF", chunk("fmt ", extensible), data(4)))), kind);
  }
});

test("other formats are no stems", () => {
  const floats = { code: 3, bits: 32 };
  const others = [{ channels: 1 }, { rateHz: 48_000 }, { bits: 24 }, { bits: 32 }, { code: 3 }, { code: 3, bits: 64 }];
  for (const other of [...others, { ...floats, channels: 1 }, { ...floats, rateHz: 96_000 }]) {
    const header = parseHeader(file("RIFF", chunk("fmt ", format(other)), data(4)));
    assert.equal(kindOfStem(header), undefined, JSON.stringify(other));
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
  const header = parseHeader(buildHeader(1000, INTEGERS));
  assert.deepEqual(header, { code: 1, channels: 2, rateHz: 44_100, bits: 16, dataOffset: 44, dataBytes: 4000 });
  assert.equal(new DataView(buildHeader(1000, INTEGERS)).getUint32(4, true), 4036);
  assert.equal(buildHeader(2 ** 30, INTEGERS), null, "beyond 4 GB");
  assert.notEqual(buildHeader((2 ** 32 - 40) / 4, INTEGERS), null);
});

test("a built header of floats has what theirs must have", () => {
  const built = new DataView(buildHeader(1000, FLOATS));
  const header = parseHeader(built.buffer);
  assert.deepEqual(header, { code: 3, channels: 2, rateHz: 44_100, bits: 32, dataOffset: 58, dataBytes: 8000 });
  assert.equal(built.getUint32(4, true), 58 + 8000 - 8);
  assert.deepEqual([built.getUint32(28, true), built.getUint16(32, true)], [44_100 * 8, 8]);
  assert.deepEqual([built.getUint32(42, true), built.getUint32(46, true)], [4, 1000], "the chunk `fact`");
  assert.equal(buildHeader(2 ** 29, FLOATS), null, "beyond 4 GB");
  assert.notEqual(buildHeader((2 ** 32 - 64) / 8, FLOATS), null);
});
