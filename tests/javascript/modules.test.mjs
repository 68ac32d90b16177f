// Every module loads: what it imports exists, under that name.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";

const STATIC = new URL("../../ezstems/static/", import.meta.url);

for (const folder of ["", "mixer/"]) {
  for (const name of readdirSync(new URL(folder, STATIC)).filter((each) => each.endsWith(".js"))) {
    test(`${folder}${name}`, async () => {
      // A page's own script gets as far as the page, which isn't there.
      await import(new URL(folder + name, STATIC)).catch((error) => {
        assert.match(String(error), /^ReferenceError: document is not defined/);
      });
    });
  }
}
