import assert from "node:assert/strict";
import { test } from "node:test";

import { distanceText } from "../../ezstems/static/times.js";

const SECOND = 1000;
const DAY = 86_400 * SECOND;

test("a time is told by its distance, in its largest whole unit", () => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  for (const [distance, text] of [
    [0, "just now"],
    [-59 * SECOND, "just now"],
    [5 * SECOND, "just now"],
    [-60 * SECOND, "1 minute ago"],
    [-3 * 3600 * SECOND - 1, "3 hours ago"],
    [-DAY + SECOND, "23 hours ago"],
    [-DAY, "yesterday"],
    [-6.9 * DAY, "6 days ago"],
    [-8 * DAY, "last week"],
    [-45 * DAY, "last month"],
    [-800 * DAY, "2 years ago"],
    [6 * DAY, "in 6 days"],
    [29 * DAY, "in 4 weeks"],
  ]) {
    assert.equal(distanceText(now + distance, now), text);
  }
});
