// Times as their reader counts them: "3 hours ago", and the exact time of their own place beside the pointer.

const EVERY_MS = 30_000;
// The largest first, each with its seconds.
const UNITS = [
  ["year", 365 * 86_400],
  ["month", 30 * 86_400],
  ["week", 7 * 86_400],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

/** Put into words how far a time is from now, both in milliseconds; under a minute is now. */
export function distanceText(timeMs, nowMs) {
  const seconds = (timeMs - nowMs) / 1000;
  const unit = UNITS.find(([, size]) => Math.abs(seconds) >= size);
  return unit ? RELATIVE.format(Math.trunc(seconds / unit[1]), unit[0]) : "just now";
}

/** Write the times of a page anew. */
export function showTimes(root = document) {
  for (const each of root.querySelectorAll("time[data-relative]")) {
    const time = Date.parse(each.dateTime);
    const text = distanceText(time, Date.now());
    if (each.textContent !== text) each.textContent = text;
    each.title = EXACT.format(time);
  }
}

/** Write them now and as time goes by. */
export function keepTimes() {
  showTimes();
  setInterval(showTimes, EVERY_MS);
}
