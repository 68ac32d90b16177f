// Tempo and key: the stems are played faster or slower, and one node moves the pitch of their sum to where it should be.
//
// One node behind the sum keeps the stems in step by itself, and costs the same for two as for five.

import { Problem } from "../http.js";

const MODULE = new URL("signalsmith-stretch/SignalsmithStretch.mjs", import.meta.url).href;
export const PLAIN = Object.freeze({ tempo: 1, semitones: 0 });
export const [SLOWEST, FASTEST, MOST_SEMITONES] = [0.5, 1.5, 6];
const FAILED = new Problem("Tempo and key can't be changed: this browser could not load what does that.");

/** Return a tempo and a key that are within their bounds, whatever they were. */
export function stretchOf(value) {
  const { tempo, semitones } = Object(value);
  const isTempo = typeof tempo === "number" && tempo >= SLOWEST && tempo <= FASTEST;
  const isKey = Number.isInteger(semitones) && Math.abs(semitones) <= MOST_SEMITONES;
  return { tempo: isTempo ? tempo : PLAIN.tempo, semitones: isKey ? semitones : PLAIN.semitones };
}

/** Tell whether nothing is to be changed. */
export function isPlain({ tempo, semitones }) {
  return tempo === 1 && semitones === 0;
}

/** Return by how many semitones the sum must be moved that is played at a tempo: what that moved, and the key. */
export function shiftOf({ tempo, semitones }) {
  return semitones - 12 * Math.log2(tempo);
}

/** Make the node in a context; it is loaded with the first one. */
export async function makeShifter(context) {
  try {
    const { default: make } = await import(MODULE);
    make.moduleUrl = MODULE;
    const node = await make(context, { numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [2] });
    const latencySeconds = await node.latency();
    // Without a source Firefox gives a node no input at all, and this one would drop the end that is still in it.
    const silence = new ConstantSourceNode(context, { offset: 0 });
    silence.connect(node);
    silence.start();
    // By its default it moves the treble less than the rest, which would be out of tune with it at another tempo.
    const tonalityHz = 0; // no bound
    return { node, latencySeconds, shift: (semitones) => node.schedule({ active: true, semitones, tonalityHz }) };
  } catch (error) {
    console.error(error);
    throw FAILED;
  }
}
