// The click, as the card would play it: every one at its beat's very frame, however the song is played.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Beats, UNCORRECTED } from "../../ezstems/static/mixer/beats.js";
import { Click, clicked, clicksOf } from "../../ezstems/static/mixer/click.js";
import { RATE_HZ } from "../../ezstems/static/mixer/time.js";
import { Transport } from "../../ezstems/static/mixer/transport.js";
import { Output, settle } from "./output.mjs";

const LENGTH = 60 * RATE_HZ;
const GUESS = { bpm: 97.3, beats: Array.from({ length: 90 }, (_, i) => 0.3 + (i * 60) / 97.3) };
let output, click, transport;

/** Keep every stem's samples as they were played: the song's frames of the first, the clicks of the last. */
class Card extends Output {
  prepare(stems) {
    const length = (parts) => parts.reduce((frames, part) => frames + part.length / 2, 0);
    assert.equal(length(stems[0]), length(stems.at(-1)), "the click is as long as the others");
    return stems.map((parts) => parts.flatMap((part) => Array.from({ length: part.length / 2 }, (_, i) => part[2 * i])));
  }

  /** Return the frames of the clock at which clicks begin, and the song's frame there (0 while it is silent). */
  clicks() {
    const found = [];
    for (const { pieces: stems, at, until } of this.started) {
      const [song, clicks] = [stems[0], stems.at(-1)];
      for (let i = 0; i < clicks.length && at + i < Math.min(until, this.frame); i += 1) {
        if (Math.abs(clicks[i]) > 20_000 && (i === 0 || clicks[i - 1] === 0)) found.push({ clock: at + i, song: song[i] });
      }
    }
    return found;
  }
}

const run = (...how) => output.run(transport, ...how);

beforeEach(() => {
  output = new Card();
  click = new Click();
  click.beats = new Beats(60, GUESS);
  // A stem whose samples are its frames' own numbers.
  const numbers = ({ start, end }) => Float32Array.from({ length: 2 * (end - start) }, (_, i) => start + (i >> 1));
  const chunks = { read: async (pieces) => [pieces.map(numbers)], abandon() {} };
  transport = new Transport(clicked(chunks, click), output, LENGTH, { changed() {}, failed: assert.fail });
});

const frameOf = (beat) => Math.round(GUESS.beats[beat] * RATE_HZ);

test("every beat of what is played clicks at its frame, those of a bar's begin higher", async () => {
  click.isOn = true;
  await transport.play();
  await run(9);
  const heard = output.clicks();
  assert.deepEqual(heard.map(({ song }) => song), heard.map((_, i) => frameOf(i)));
  assert.ok(heard.length >= 13);
  const crossings = (beat) => {
    const pcm = clicksOf(click.beats, frameOf(beat), frameOf(beat) + 400).filter((_, i) => i % 2 === 0);
    return pcm.filter((value, i) => i && Math.sign(value) !== Math.sign(pcm[i - 1])).length;
  };
  assert.ok(crossings(0) > crossings(1) && crossings(4) > crossings(3));
});

test("a loop's clicks are those of its beats, round after round", async () => {
  click.isOn = true;
  const [start, end] = [frameOf(4), frameOf(8)];
  transport.setLoop({ start, end });
  transport.seek(start);
  await transport.play();
  await run(12);
  const heard = output.clicks();
  assert.ok(heard.length >= 16);
  heard.forEach(({ clock, song }, i) => {
    assert.equal(song, frameOf(4 + (i % 4)));
    if (i) assert.equal(clock - heard[i - 1].clock, i % 4 ? song - heard[i - 1].song : end - heard[i - 1].song);
  });
});

test("it is switched on and off while the song plays, without a gap in it", async () => {
  await transport.play();
  await run(3);
  assert.deepEqual(output.clicks(), []);
  click.isOn = true;
  transport.renew();
  await run(4);
  const first = output.clicks()[0];
  assert.ok(first.song >= 3 * RATE_HZ && first.song < 4 * RATE_HZ);
  const number = GUESS.beats.findIndex((beat) => Math.round(beat * RATE_HZ) === first.song);
  assert.ok(number > 0);
  click.isOn = false;
  transport.renew();
  const before = output.clicks().length;
  await run(3);
  assert.ok(output.clicks().length <= before + 1);
});

test("a bar is counted in, and the song follows its last beat in time", async () => {
  click.countsIn = true;
  for (const [beat, perBar] of [[0, 4], [5, 4], [12, 3]]) {
    click.beats = new Beats(60, GUESS, { ...UNCORRECTED, perBar });
    output.started = [];
    transport.seek(frameOf(beat));
    const begun = output.frame;
    await transport.play((frame) => click.countIn(frame, 1));
    await settle();
    assert.equal(transport.position, frameOf(beat), "the song waits");
    await run(1);
    assert.equal(transport.position, frameOf(beat));
    await run(5);
    const heard = output.clicks();
    assert.equal(heard.length, perBar);
    const song = output.started.find(({ pieces }) => pieces[0][0] === frameOf(beat));
    const step = (60 / 97.3) * RATE_HZ;
    heard.forEach(({ clock }, i) => assert.ok(Math.abs(song.at - (perBar - i) * step - clock) <= 1.01, `${i}`));
    assert.ok(heard[0].clock >= begun);
    const [lead, next] = output.started;
    assert.equal(next.at, lead.at + lead.pieces[0].length, "back to back");
    transport.pause();
  }
});

test("what changes meanwhile, or a pause, leaves the count whole or ends it", async () => {
  click.countsIn = true;
  const play = () => transport.play((frame) => click.countIn(frame, 1));
  transport.seek(frameOf(8));
  await play();
  await run(0.4);
  transport.renew();
  await run(5);
  assert.equal(output.clicks().length, 4);
  assert.ok(transport.position > frameOf(8));
  transport.pause();
  transport.seek(frameOf(8));
  await play();
  await run(1);
  transport.pause();
  assert.equal(transport.position, frameOf(8));
  const count = output.clicks().length;
  await run(4);
  assert.equal(output.clicks().length, count);
});

test("without a known tempo there is nothing to hear", async () => {
  click.beats = new Beats(60, null);
  [click.isOn, click.countsIn] = [true, true];
  assert.equal(click.countIn(0, 1), null);
  await transport.play((frame) => click.countIn(frame, 1));
  await run(3);
  assert.deepEqual(output.clicks(), []);
});
