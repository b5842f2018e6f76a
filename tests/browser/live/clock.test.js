// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock } from "../../../crates/dashboard/page/live/clock.js";
import { START } from "./ground.js";

/**
 * How far the clock is off, if it was START at the server when the page's clock said 0.
 * @param {Clock} clock
 */
function error(clock) {
  const before = performance.now();
  const now = clock.now();
  return now - START - before;
}

/**
 * @param {Clock} clock
 * @param {number} most
 */
function near(clock, most) {
  assert.ok(Math.abs(error(clock)) <= most, `${error(clock)} ms off`);
}

test("before anything was heard it is the page's own clock", () => {
  const clock = new Clock();
  assert.ok(Math.abs(clock.now() - Date.now()) < 50);
  clock.atLeast(START - 1e9);
  assert.ok(Math.abs(clock.now() - Date.now()) < 50, "old news are not the present time");
});

test("an exact answer is off by no more than half the way there and back", () => {
  const clock = new Clock();
  clock.learn(START + 1000, 1100, 980);
  near(clock, 60);
  clock.learn(START + 2000, 2003, 1998);
  near(clock, 4);
  clock.learn(START + 3000, 3900, 2800);
  near(clock, 5);
});

test("answers to the second narrow it together", () => {
  const clock = new Clock();
  for (let ask = 0; ask < 20; ask += 1) {
    const at = ask * 3047;
    const second = Math.floor((START + at) / 1000) * 1000;
    clock.learn(second, at + 2, at - 2, 1000);
  }
  near(clock, 100);
});

test("news are fresh, unless they are known to be old", () => {
  const clock = new Clock();
  clock.learn(START, 200, 0, 1000);
  clock.atLeast(START + 5000, 5001);
  near(clock, 15);
  clock.atLeast(START + 2000, 6000);
  near(clock, 15);
});

test("a clock that was set is believed at once", () => {
  for (const jump of [-3_600_000, 3_600_000]) {
    const clock = new Clock();
    clock.learn(START + jump, 0, -4);
    clock.learn(START + 3000, 3002, 2998);
    near(clock, 5);
  }
});

test("what can't be read as a time is passed over", () => {
  const clock = new Clock();
  clock.learn(START, 2, -2);
  clock.learn(NaN);
  clock.atLeast(NaN);
  near(clock, 5);
});
