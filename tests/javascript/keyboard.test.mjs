// Keys: what they ask for, and where they are left to others.

import assert from "node:assert/strict";
import { test } from "node:test";

import { commandOf, placeOf, skipOf } from "../../ezstems/static/mixer/keyboard.js";

const press = (key, place = "page", more = {}) => commandOf({ key, ...more }, place);

test("every key of the help", () => {
  assert.deepEqual(press(" "), { do: "toggle" });
  assert.deepEqual(press("ArrowLeft"), { do: "skip", seconds: -5 });
  assert.deepEqual(press("ArrowRight", "page", { shiftKey: true }), { do: "skip", seconds: 1 });
  assert.deepEqual(press("ArrowUp"), { do: "select", by: -1 });
  assert.deepEqual(press("ArrowDown"), { do: "select", by: 1 });
  assert.deepEqual(press("5"), { do: "soloLane", lane: 4 });
  for (const [key, command] of [["m", "mute"], ["S", "solo"], ["l", "loop"], ["i", "loopIn"], ["O", "loopOut"]]) {
    assert.deepEqual(press(key), { do: command });
  }
  for (const [key, zoom] of [["+", "in"], ["=", "in"], ["-", "out"], ["z", "whole"]]) assert.deepEqual(press(key), { do: "zoom", zoom });
  for (const [key, by] of [["[", { percent: -5 }], ["]", { percent: 5 }], [",", { semitones: -1 }], [".", { semitones: 1 }]]) {
    assert.deepEqual(press(key), { do: "stretch", by });
  }
  for (const [key, beats] of [["c", "click"], ["N", "count-in"], ["t", "tap"], ["d", "beat-one"], ["g", "snap"]]) {
    assert.deepEqual(press(key), { do: "beats", beats });
  }
  assert.deepEqual(press("Home"), { do: "toStart" });
  assert.deepEqual(press("End"), { do: "toEnd" });
  assert.deepEqual(press("?"), { do: "help" });
});

test("a field keeps all its keys, a button its space bar, a slider its arrows", () => {
  for (const key of [" ", "m", "1", "ArrowLeft", "?"]) assert.equal(press(key, "text"), null);
  assert.equal(press(" ", "control"), null);
  assert.deepEqual(press("ArrowLeft", "control"), { do: "skip", seconds: -5 });
  for (const key of ["ArrowLeft", "ArrowUp", "Home", "End"]) assert.equal(press(key, "range"), null);
  assert.deepEqual(press(" ", "range"), { do: "toggle" });
  assert.deepEqual(press("m", "range"), { do: "mute" });
});

test("a button that was clicked gives the space bar back, one that Tab reached keeps it", () => {
  const element = (name) => ({ matches: (selector) => selector.split(/, ?/).includes(name) });
  const [button, other, field] = ["button", "button", "input"].map(element);
  assert.equal(placeOf(button), "control");
  assert.equal(placeOf(button, other), "control");
  assert.equal(placeOf(button, button), "page");
  assert.equal(placeOf(field, field), "text", "one types into it, however one came there");
});

test("a key each names a mix, or the original", () => {
  const presets = { k: "karaoke", A: "a cappella", p: "practise", 0: "everything" };
  for (const [key, preset] of Object.entries(presets)) assert.deepEqual(press(key), { do: "preset", preset });
  assert.deepEqual(press("b"), { do: "original" });
  for (const key of ["k", "b"]) assert.equal(press(key, "page", { repeat: true }), null);
});

test("other keys, and those of the browser, are left alone", () => {
  for (const key of ["x", "Tab", "Enter", "Escape", "F5"]) assert.equal(press(key), null, key);
  for (const modifier of ["ctrlKey", "altKey", "metaKey"]) {
    for (const key of ["s", "l", "1", "ArrowLeft", " "]) assert.equal(press(key, "page", { [modifier]: true }), null);
  }
});

test("a held key skips on, but doesn't flutter", () => {
  assert.deepEqual(press("ArrowRight", "page", { repeat: true }), { do: "skip", seconds: 5 });
  for (const key of [" ", "m", "1"]) assert.equal(press(key, "page", { repeat: true }), null);
});

test("the song's slider moves by seconds", () => {
  const keys = ["ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp", "PageUp"];
  assert.deepEqual(keys.map((key) => skipOf({ key, shiftKey: false })), [-5, -5, 5, 5, null]);
  assert.equal(skipOf({ key: "ArrowUp", shiftKey: true }), 1);
});
