// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { happeningsOf, readPast } from "../../../crates/dashboard/page/live/past.js";
import { BUCKETS, Series, STEP } from "../../../crates/dashboard/page/live/series.js";
import { happening, lease, START, tokenId } from "./ground.js";

/** @typedef {import("../../../crates/dashboard/page/live/shape.js").PastLease} PastLease */

/**
 * @param {number} fence
 * @param {number} startedAt
 * @param {number | null} [endedAt]
 * @param {PastLease["reason"]} [reason]
 * @returns {PastLease}
 */
function past(fence, startedAt, endedAt = null, reason = endedAt === null ? null : "expired") {
  return { ...lease(fence), tokenId: tokenId(fence), startedAt, endedAt, reason, evictedBy: null,
    pool: "default", tokenName: `${fence}`, note: null, by: null, endedBy: null };
}

/**
 * @param {Series} series
 * @param {number} now
 * @param {number} active
 */
const last = (series, now, active) => series.buckets(now, active).slice(-1)[0];

test("events are counted in the bucket in which they happened", () => {
  const series = new Series();
  series.apply(happening("started", 0, 1, { at: START }));
  series.apply(happening("started", 1, 2, { at: START + STEP - 1 }));
  series.apply(happening("renewed", 1, 2, { at: START + STEP }));
  series.apply(happening("ended", 0, 1, { at: START + STEP, reason: "expired" }));
  series.apply(happening("ended", 1, 2, { at: START + STEP, reason: "evicted" }));
  series.apply(happening("started", 1, 3, { at: START + STEP }));
  series.apply(happening("ended", 1, 3, { at: START + 3 * STEP, reason: "released" }));
  assert.deepEqual(series.buckets(START + 3 * STEP, 0), [
    { at: START, active: 2, allocations: 2, expiries: 0, evictions: 0, waiting: null },
    { at: START + STEP, active: 1, allocations: 1, expiries: 1, evictions: 1, waiting: null },
    { at: START + 2 * STEP, active: 1, allocations: 0, expiries: 0, evictions: 0, waiting: null },
    { at: START + 3 * STEP, active: 0, allocations: 0, expiries: 0, evictions: 0, waiting: null },
  ]);
});

test("nothing is kept for longer than ten minutes, and nothing comes round again", () => {
  const series = new Series();
  series.apply(happening("started", 0, 1, { at: START }));
  const end = START + (BUCKETS - 1) * STEP;
  assert.equal(series.buckets(end, 1).length, BUCKETS);
  assert.equal(series.buckets(end, 1)[0].allocations, 1);
  const later = series.buckets(end + STEP, 1);
  assert.equal(later.length, BUCKETS);
  assert.equal(later.reduce((sum, { allocations }) => sum + allocations, 0), 0);
  assert.ok(later.every(({ active }) => active === 1));
  series.apply(happening("started", 0, 2, { at: START }));
  assert.equal(last(series, end + STEP, 1).allocations, 0, "too late to be counted");
  const muchLater = series.buckets(end + 1e9, 0);
  assert.equal(muchLater.length, BUCKETS);
});

test("what the history had is not counted again when it is told", () => {
  const series = new Series();
  series.expect();
  // Told while the history is read: of these it has the first start and the first end.
  series.apply(happening("started", 0, 2, { at: START }));
  series.apply(happening("ended", 0, 1, { at: START, reason: "expired" }));
  series.apply(happening("started", 0, 3, { at: START }));
  series.load([past(2, START), past(1, START - STEP, START), past(2, START)], START - STEP, START);
  assert.deepEqual(series.buckets(START, 2), [
    { at: START - STEP, active: 1, allocations: 1, expiries: 0, evictions: 0, waiting: null },
    { at: START, active: 2, allocations: 2, expiries: 1, evictions: 0, waiting: null },
  ]);
  assert.equal(series.apply(happening("ended", 0, 1, { at: START })), false);
  assert.equal(series.apply(happening("started", 0, 2, { at: START })), false);
  assert.equal(series.apply(happening("ended", 0, 2, { at: START, reason: "expired" })), true);
  assert.equal(last(series, START, 1).expiries, 2);
});

test("a load starts again, and a failed one keeps the old data", () => {
  const series = new Series();
  series.apply(happening("started", 0, 1, { at: START }));
  series.expect();
  series.giveUp();
  assert.equal(last(series, START, 1).allocations, 1);
  series.expect();
  series.load([], START - STEP, START);
  assert.equal(last(series, START, 0).allocations, 0);
});

test("an end that is certain but was not told counts where it belongs", () => {
  const series = new Series();
  series.apply(happening("started", 0, 1, { at: START }));
  const buckets = series.buckets(START + 2 * STEP, 0, [lease(1, START + STEP)]);
  assert.deepEqual(buckets.map(({ active }) => active), [1, 0, 0]);
  assert.deepEqual(buckets.map(({ expiries }) => expiries), [0, 1, 0]);
  assert.equal(series.buckets(START + 2 * STEP, 1)[1].expiries, 0, "and only for the moment");
});

test("the queue is known from the first count on, with its longest in each bucket", () => {
  const series = new Series();
  series.apply(happening("started", 0, 1, { at: START }));
  series.wait(2, START + STEP);
  series.wait(5, START + STEP + 1);
  series.wait(5, START + STEP + 2);
  series.wait(1, START + STEP + 3);
  series.wait(0, START + 3 * STEP);
  const waiting = (/** @type {number} */ now) => series.buckets(now, 1).map((one) => one.waiting);
  assert.deepEqual(waiting(START + 4 * STEP), [null, 5, 1, 1, 0]);
  series.load([past(1, START)], START, START + 4 * STEP);
  assert.deepEqual(waiting(START + 4 * STEP), [null, 5, 1, 1, 0], "the history does not have it");
  const end = START + (BUCKETS + 10) * STEP;
  series.wait(3, end);
  assert.deepEqual(new Set(waiting(end)), new Set([0, 3]), "the last count before is that of the start");
});

test("the history is read page by page, and both what began and what ran", async () => {
  /** @type {Record<string, unknown>[]} */
  const asked = [];
  const leases = async (/** @type {any} */ query, /** @type {string} */ next = "") => {
    asked.push({ ...query, next });
    if (query.at === undefined && next === "") return { leases: [], next: "more" };
    const lease = query.at === undefined ? past(2, START) : past(1, START - 1e6, START - 10);
    return { leases: [lease], next: undefined };
  };
  const { leases: found, since } = await readPast({ leases }, START);
  assert.equal(since, START - (BUCKETS - 1) * STEP);
  assert.deepEqual(found.map(({ fence }) => fence), [2, 1]);
  const time = new Date(since).toISOString();
  assert.deepEqual(asked, [{ from: time, next: "" }, { from: time, next: "more" },
    { at: time, next: "" }]);
});

test("of a history that is too long the newest part is taken", async () => {
  let pages = 0;
  const leases = async (/** @type {any} */ query) => {
    if (query.at !== undefined) return { leases: [], next: undefined };
    pages += 1;
    return { leases: [past(1000 - pages, START - pages * STEP)], next: "more" };
  };
  const { since } = await readPast({ leases }, START);
  assert.ok(pages < 20, `${pages} pages`);
  assert.equal(since, START - pages * STEP + STEP, "the bucket of the oldest may lack some");
});

test("the history gives the latest events, in order", () => {
  const older = [past(2, START - 5000, START, "evicted"), past(1, START - 9000)];
  const rows = [past(3, START, null), ...older];
  const found = happeningsOf(rows, START - 6000, 10);
  assert.deepEqual(found.map(({ kind, fence, reason }) => [kind, fence, reason]), [
    ["started", 2, null], ["ended", 2, "evicted"], ["started", 3, null],
  ]);
  assert.equal(happeningsOf(rows, START - 6000, 1).length, 1);
});
