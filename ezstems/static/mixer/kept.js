// A song's mix and loop from one visit to the next.

import { recall, remember } from "./memory.js";

const isFraction = (value) => typeof value === "number" && value >= 0 && value <= 1;

/** Keep how the lanes are set. */
export function keepMix(song, lanes) {
  remember(song, "mix", Object.fromEntries(lanes.map((lane) => [lane.stem, lane.settings])));
}

/** Keep the loop, as fractions of the song. */
export function keepLoop(song, loop) {
  remember(song, "loop", loop.fractions);
}

/** Set lanes and loop as they were left; the song begins at its start, or where its loop does. */
export function restore(song, lanes, loop, transport) {
  const mix = recall(song, "mix");
  for (const lane of lanes) lane.set(Object(mix?.[lane.stem]));
  const { start, end, isOn } = Object(recall(song, "loop"));
  if (!isFraction(start) || !isFraction(end)) return;
  loop.mark(start, end, true);
  if (isOn === true || !loop.isOn) return;
  loop.toggle();
  transport.seek(0);
}
