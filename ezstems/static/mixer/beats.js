// A song's beats, in seconds: as the server guessed them, and as somebody corrected them. They go on before the song's
// start, as far as a bar that is counted in there.

import { RATE_HZ } from "./time.js";

export const [SLOWEST_BPM, FASTEST_BPM] = [30, 300];
export const BEATS_OF_BARS = [2, 3, 4, 5, 6, 7];
const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
export const KEYS = ["major", "minor"].flatMap((mode) => NAMES.map((name) => `${name} ${mode}`));
const FACTORS = [0.25, 0.5, 1, 2, 4];
const LEAD_BEATS = Math.max(...BEATS_OF_BARS) + 1;
const [MAX_SHIFT_SECONDS, MAX_SECONDS] = [60, 1e6];
const LEAST_STEP_SECONDS = 0.05;
const NEAR_BEATS = 0.25; // a beat so near is the one that is meant

/** No correction: `factor` is of the guessed tempo, `shift` in seconds, `one` a second where a bar begins. */
export const UNCORRECTED = Object.freeze({ bpm: null, factor: 1, shift: 0, one: null, perBar: 4, key: null });

/** Return corrections that are within their bounds, whatever they were. */
export function correctionsOf(value) {
  const { bpm, factor, shift, one, perBar, key } = Object(value);
  return {
    bpm: isBpm(bpm) ? bpm : null,
    factor: FACTORS.includes(factor) ? factor : 1,
    shift: isWithin(shift, MAX_SHIFT_SECONDS) ? shift : 0,
    one: isWithin(one, MAX_SECONDS) ? one : null,
    perBar: BEATS_OF_BARS.includes(perBar) ? perBar : UNCORRECTED.perBar,
    key: KEYS.includes(key) ? key : null,
  };
}

/** Return the server's guess as far as it is one: `tempo` and `key`, each null where it isn't. */
export function guessOf(value) {
  const { tempo, key } = Object(value);
  const { bpm, beats } = Object(tempo);
  const follows = (beat, i) => isWithin(beat, MAX_SECONDS) && (i === 0 || beat >= beats[i - 1] + LEAST_STEP_SECONDS);
  const isTempo = isBpm(bpm) && Array.isArray(beats) && beats.length > 1 && beats.every(follows);
  return { tempo: isTempo ? tempo : null, key: KEYS.includes(key?.name) ? key : null };
}

function isWithin(value, bound) {
  return typeof value === "number" && Math.abs(value) < bound;
}

export function isBpm(bpm) {
  return typeof bpm === "number" && bpm >= SLOWEST_BPM && bpm <= FASTEST_BPM;
}

/** Return where bars begin, {frame, number}, of all beats' seconds: bar 1 begins on the beat `first`, counted from 0. */
export function bars(beats, beatsPerBar, first) {
  const found = [];
  for (let i = first % beatsPerBar; i < beats.length; i += beatsPerBar) {
    found.push({ frame: Math.round(beats[i] * RATE_HZ), number: (i - first) / beatsPerBar + 1 });
  }
  return found;
}

export class Beats {
  #guess;
  #lengthSeconds;
  #times = [];
  #one = 0; // the number of the beat on which the song's first bar begins

  /** `guess` is the server's: `bpm` and `beats`; null where it found none. */
  constructor(lengthSeconds, guess = null, corrections = UNCORRECTED) {
    this.#guess = guess;
    this.#lengthSeconds = lengthSeconds;
    this.corrections = corrections;
    const { bpm, one, shift } = corrections;
    if (bpm) {
      this.#times = steady(60 / bpm, one ?? (this.#guess?.beats[0] ?? 0) + shift, lengthSeconds);
    } else if (this.#guess) {
      this.#times = this.#guessed(lengthSeconds);
    }
    if (this.isKnown) this.#one = this.#firstBar(this.nearest(one ?? (this.#guess?.beats[0] ?? 0) + shift));
  }

  /** Return the first beat of the song that begins a bar as another one does: there bar 1 is. */
  #firstBar(one) {
    const { perBar } = this.corrections;
    const start = firstFrom(this.#times, -0.5 / RATE_HZ);
    return start + ((((one - start) % perBar) + perBar) % perBar);
  }

  #guessed(lengthSeconds) {
    const { factor, one, shift } = this.corrections;
    const parts = Math.max(1, factor);
    const found = this.#guess.beats.map((beat) => beat + shift);
    const split = found.slice(1).flatMap((beat, i) => {
      const step = (beat - found[i]) / parts;
      return Array.from({ length: parts }, (_, part) => found[i] + part * step);
    });
    const all = extended([...split, found.at(-1)], lengthSeconds, LEAD_BEATS / Math.min(1, factor));
    if (factor >= 1) return all;
    const kept = nearestIn(all, one ?? found[0]) % (1 / factor);
    return all.filter((_, number) => number % (1 / factor) === kept);
  }

  get isKnown() {
    return this.#times.length > 1;
  }

  /** The tempo, null while it isn't known. */
  get bpm() {
    const { bpm, factor } = this.corrections;
    return bpm ?? (this.#guess ? this.#guess.bpm * factor : null);
  }

  /** Return corrections by which the tempo is twice as fast or half; the same where it can't be. */
  scaled(factor) {
    const { bpm, factor: before } = this.corrections;
    if (!isBpm(this.bpm * factor)) return this.corrections;
    if (bpm) return { ...this.corrections, bpm: bpm * factor };
    return FACTORS.includes(before * factor) ? { ...this.corrections, factor: before * factor } : this.corrections;
  }

  /** Return corrections by which a bar begins at a second: on the beat there, or else the beats move. */
  beginAt(second) {
    const number = this.nearest(second);
    const beat = this.#times[number];
    const step = this.#stepAt(number);
    if (Math.abs(second - beat) <= NEAR_BEATS * step) return { ...this.corrections, one: beat };
    return { ...this.corrections, one: second, shift: this.corrections.shift + (this.corrections.bpm ? 0 : second - beat) };
  }

  /** Return the number of the beat that is nearest to a second. */
  nearest(second) {
    return nearestIn(this.#times, second);
  }

  /** Return the song's frame on which the beat nearest to a frame is; its ends count for beats beyond them. */
  frameNear(frame) {
    const second = this.#times[this.nearest(frame / RATE_HZ)];
    return Math.round(Math.max(0, Math.min(this.#lengthSeconds, second)) * RATE_HZ);
  }

  /** Return when a beat comes; numbers may be fractions. */
  secondOf(number) {
    const before = Math.max(0, Math.min(this.#times.length - 2, Math.floor(number)));
    return this.#times[before] + (number - before) * this.#stepAt(before);
  }

  /** Return the number at a second, a fraction between two beats. */
  numberAt(second) {
    const before = Math.max(0, Math.min(this.#times.length - 2, firstFrom(this.#times, second) - 1));
    return before + (second - this.#times[before]) / this.#stepAt(before);
  }

  /** Return the beats from one second to before another: when each comes, which bar it is in, and which of its beats. */
  between(from, to) {
    const found = [];
    const { perBar } = this.corrections;
    for (let i = firstFrom(this.#times, from); i < this.#times.length && this.#times[i] < to; i += 1) {
      const bar = Math.floor((i - this.#one) / perBar);
      found.push({ second: this.#times[i], bar: bar + 1, beat: i - this.#one - bar * perBar + 1 });
    }
    return found;
  }

  /** Where the song's bars begin, as `bars` returns them. */
  get bars() {
    const { perBar } = this.corrections;
    const last = this.#lengthSeconds * RATE_HZ;
    return bars(this.#times, perBar, this.#one).filter(({ frame }) => frame >= 0 && frame < last);
  }

  #stepAt(number) {
    const before = Math.min(this.#times.length - 2, number);
    return this.#times[before + 1] - this.#times[before];
  }
}

function steady(step, anchor, lengthSeconds) {
  const first = Math.floor(-anchor / step) - LEAD_BEATS;
  const count = Math.ceil((lengthSeconds - anchor) / step) - first + 1;
  return Array.from({ length: count }, (_, i) => anchor + (first + i) * step);
}

/** Go on before the first and after the last by the nearest steps. */
function extended(times, lengthSeconds, lead) {
  const [first, last] = [times[1] - times[0], times.at(-1) - times.at(-2)];
  const before = Math.max(0, Math.ceil(times[0] / first)) + lead;
  const after = Math.max(0, Math.ceil((lengthSeconds - times.at(-1)) / last)) + 1;
  return [
    ...Array.from({ length: before }, (_, i) => times[0] - (before - i) * first),
    ...times,
    ...Array.from({ length: after }, (_, i) => times.at(-1) + (i + 1) * last),
  ];
}

/** Return the number of the first time that isn't before a second. */
function firstFrom(times, second) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < second) low = middle + 1;
    else high = middle;
  }
  return low;
}

function nearestIn(times, second) {
  const after = Math.min(times.length - 1, firstFrom(times, second));
  return after > 0 && second - times[after - 1] <= times[after] - second ? after - 1 : after;
}
