// What each lane's buttons and slider mean for its loudness.

export const MAX_VOLUME_PERCENT = 150;

/** Return each lane's factor: a mute wins over everything, and where a lane is solo, only such lanes sound. */
export function gainsOf(lanes) {
  const anySolo = lanes.some((lane) => lane.solo);
  return lanes.map(({ muted, solo, volume }) => (muted || (anySolo && !solo) ? 0 : volume / 100));
}
