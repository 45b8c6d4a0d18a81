// Tests that need no service: node --test
import assert from "node:assert/strict";
import test from "node:test";

import { records } from "../main.mjs";

test("it goes on after the last record", () => {
  assert.deepEqual(records(5, 2), [{ id: 6 }, { id: 7 }]);
});

test("nothing new is no record", () => {
  assert.deepEqual(records(5, 0), []);
});
