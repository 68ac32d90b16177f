// The one time base, frames of a 44.1 kHz stream, and how a time is written and read aloud.

export const RATE_HZ = 44_100;

/** Write seconds as 3:07, or 1:02:03 from an hour on. */
export function clockText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const tail = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** Write seconds with their tenths, for the ends of a loop: 3:07.4. */
export function preciseText(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  return `${clockText(Math.floor(tenths / 10))}.${tenths % 10}`;
}

/** Write a time as a screen reader should say it: 3 minutes 7 seconds of 4 minutes 0 seconds. */
export function spokenTime(seconds, total) {
  return `${lengthText(seconds)} of ${lengthText(total)}`;
}

function lengthText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [[Math.floor(whole / 3600), "hour"], [Math.floor(whole / 60) % 60, "minute"], [whole % 60, "second"]];
  const used = parts.slice(whole >= 3600 ? 0 : whole >= 60 ? 1 : 2);
  return used.map(([number, unit]) => `${number} ${unit}${number === 1 ? "" : "s"}`).join(" ");
}
