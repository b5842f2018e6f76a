// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { duration, parseDuration, rough } from "../../../crates/dashboard/page/words/duration.js";

test("lengths are written as the command line does", () => {
  for (const [ms, text] of /** @type {const} */ ([
    [0, "0s"], [1, "1ms"], [1500, "1500ms"], [60_000, "1m"], [90_000, "90s"], [119_999, "119999ms"],
    [120_000, "2m"], [200_000, "3m20s"], [600_500, "10m500ms"], [5_400_000, "1h30m"],
    [28_800_000, "8h"], [187_205_000, "2d4h5s"],
  ])) {
    assert.equal(duration(ms), text);
  }
  for (const [ms, text] of /** @type {const} */ ([
    [999, "999ms"], [80_900, "80s"], [3_599_000, "59m59s"], [3_605_000, "1h"], [11_100_000, "3h5m"],
    [187_205_000, "2d4h"],
  ])) {
    assert.equal(rough(ms), text);
  }
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
