// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { duration, lasted, parseDuration } from "../../../crates/server/dashboard/words/duration.js";

test("lengths are written in two units at most, as the command line does", () => {
  for (const [ms, text] of /** @type {const} */ ([
    [0, "0s"], [500, "500ms"], [1500, "1s 500ms"], [59_000, "59s"], [90_000, "1m 30s"],
    [600_000, "10m"], [3_605_000, "1h"], [28_800_000, "8h"], [187_200_000, "2d 4h"],
  ])) {
    assert.equal(duration(ms), text);
  }
  assert.deepEqual([lasted(320), lasted(1999), lasted(61_999)], ["320ms", "1s", "1m 1s"]);
});

test("what is written is read", () => {
  for (const [text, ms] of /** @type {const} */ ([
    ["90s", 90_000], ["10m", 600_000], ["8h", 28_800_000], ["1d", 86_400_000],
    ["1h 30m", 5_400_000], ["1m30s", 90_000], [" 2 M ", 120_000], ["500ms", 500], ["0s", 0],
  ])) {
    assert.equal(parseDuration(text), ms, text);
  }
  for (const text of ["", "90", "10 minutes", "m", "1.5h", "-5s", "5x", "1h30", "9".repeat(400) + "d"]) {
    assert.equal(parseDuration(text), undefined, text);
  }
});
