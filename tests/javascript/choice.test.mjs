// A choice that a browser keeps, or doesn't.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Choice } from "../../ezstems/static/choice.js";

const use = (storage) => Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true });

test("a choice is kept, and what is no choice leaves it as at first", () => {
  const kept = new Map();
  use({ getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) });
  for (const isOnAtFirst of [true, false]) {
    const choice = new Choice(`at first ${isOnAtFirst}`, isOnAtFirst);
    assert.equal(choice.isOn, isOnAtFirst);
    choice.isOn = !isOnAtFirst;
    assert.equal(new Choice(`at first ${isOnAtFirst}`, isOnAtFirst).isOn, !isOnAtFirst);
    kept.set(`at first ${isOnAtFirst}`, "perhaps");
    assert.equal(choice.isOn, isOnAtFirst);
  }
});

test("without a storage a choice holds for the visit", () => {
  use(undefined);
  const choice = new Choice("a", false);
  assert.equal(choice.isOn, false);
  choice.isOn = true;
  assert.equal(choice.isOn, true);
});
