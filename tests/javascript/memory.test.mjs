// The mixer's memory: a song and a part at a time, bounded, and never an exception.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { MAX_SONGS, recall, remember } from "../../ezstems/static/mixer/memory.js";

/** Stand for the browser's storage. */
class Storage {
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  key(number) {
    return [...this.#items.keys()][number];
  }

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, String(value));
  }

  removeItem(key) {
    this.#items.delete(key);
  }
}

const use = (storage) => Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true });
let storage;

beforeEach(() => use((storage = new Storage())));

test("a part of a song is remembered by itself, and forgotten", () => {
  assert.equal(recall("a", "loop"), null);
  remember("a", "loop", { start: 1.5, end: 3 });
  remember("a", "tempo", 0);
  remember("b", "loop", "another");
  assert.deepEqual(recall("a", "loop"), { start: 1.5, end: 3 });
  assert.equal(recall("a", "tempo"), 0);
  assert.equal(recall("b", "loop"), "another");
  remember("a", "loop", null);
  assert.equal(recall("a", "loop"), null);
  assert.equal(recall("a", "tempo"), 0);
  assert.equal(recall("a", "toString"), null, "no object's own");
});

test("the songs that were used last are kept, and nothing else in the storage is touched", (t) => {
  let milliseconds = 0;
  const { now } = Date;
  t.after(() => (Date.now = now));
  Date.now = () => (milliseconds += 1000);
  storage.setItem("shortcuts", "off");
  for (let song = 0; song < MAX_SONGS; song += 1) {
    remember(`song${song}`, "mix", song);
  }
  remember("song0", "mix", "again");
  remember("new", "mix", "new");
  assert.equal(recall("song1", "mix"), null);
  assert.deepEqual(["song0", "song2", "new"].map((song) => recall(song, "mix")), ["again", 2, "new"]);
  assert.equal(storage.length, MAX_SONGS + 1);
  assert.equal(storage.getItem("shortcuts"), "off");
});

test("what is broken or foreign counts as nothing, and is written over", () => {
  for (const text of ["", "{", "null", "7", "[]", '"x"', '{"values": 3}', '{"values": []}', '{"values": null}']) {
    storage.setItem("mixer.a", text);
    assert.equal(recall("a", "mix"), null, text);
    remember("a", "mix", 1);
    assert.equal(recall("a", "mix"), 1, text);
  }
});

test("a storage that is full, denied or not there is no exception", () => {
  storage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  remember("a", "mix", 1);
  assert.equal(recall("a", "mix"), null);
  Object.defineProperty(globalThis, "localStorage", {
    get: () => {
      throw new DOMException("denied", "SecurityError");
    },
    configurable: true,
  });
  remember("a", "mix", 1);
  assert.equal(recall("a", "mix"), null);
  use(undefined);
  remember("a", "mix", 1);
  assert.equal(recall("a", "mix"), null);
});
