// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { PoolList, timeLeft } from "../../../crates/dashboard/page/live/pool_list.js";
import { fits, listed } from "../../../crates/dashboard/page/view/overview/order.js";
import { START } from "./ground.js";

const at = (/** @type {number} */ seconds) => new Date(START + seconds * 1000).toISOString();

/** A pool as GET /api/pools lists it. @param {string} name @param {Record<string, any>} [more] */
export function row(name, more = {}) {
  return { name, description: "", size: 10, active: 0, available: 10, tainted: 0, retiring: 0,
    waiting: 0, next_deadline: null, policy: { when_full: "wait" }, ...more };
}

/** @param {number} version @param {any[]} pools @param {string | null} [next] */
const page = (version, pools, next = null) => ({ pools, next, epoch: 1, version });

/** @param {number} version @param {string} kind @param {string} pool @param {any} [more] */
const told = (version, kind, pool, more = {}) =>
  ({ kind, version, data: { pool, expires_at: at(60), ...more } });

/** @param {PoolList} list @param {string} name */
function counts(list, name) {
  const { active, available, tainted } = /** @type {any} */ (list.rows.get(name));
  return [active, available, tainted];
}

test("events change the counts of their pool, unless the list has them already", () => {
  const list = new PoolList();
  list.read("", page(5, [row("a", { active: 1, available: 9 }), row("b")]));
  list.apply(told(5, "started", "a"));
  assert.deepEqual(counts(list, "a"), [1, 9, 0], "the page is as of version 5");
  list.apply(told(6, "started", "a"));
  list.apply(told(6, "started", "a"));
  list.apply(told(7, "ended", "a", { reason: "released" }));
  list.apply(told(7, "ended", "a", { reason: "drained" }));
  assert.deepEqual(counts(list, "a"), [1, 8, 1]);
  assert.deepEqual(counts(list, "b"), [0, 10, 0]);
  list.apply(told(8, "started", "unknown"));
  assert.deepEqual(list.totals(),
    { pools: 2, size: 20, active: 1, available: 18, tainted: 1, waiting: 0 });
});

test("events that come while a page is under way are neither lost nor counted twice", () => {
  const list = new PoolList();
  list.read("", page(1, [row("a")]));
  list.expect();
  list.apply(told(2, "started", "a"));
  list.apply(told(3, "started", "a"));
  list.read("", page(2, [row("a", { active: 1, available: 9 })]));
  assert.deepEqual(counts(list, "a"), [2, 8, 0]);
  list.apply(told(4, "started", "a"));
  assert.deepEqual(counts(list, "a"), [3, 7, 0]);
});

test("a page replaces the pools between its first and its last name", () => {
  const list = new PoolList();
  list.read("", page(1, [row("a"), row("b")], "/next"));
  list.read("b", page(1, [row("c"), row("d")]));
  assert.deepEqual([...list.rows.keys()].sort(), ["a", "b", "c", "d"]);
  const { members } = list;
  list.read("", page(2, [row("b"), row("bb")], "/next"));
  assert.deepEqual([...list.rows.keys()].sort(), ["b", "bb", "c", "d"]);
  assert.notEqual(list.members, members);
  assert.equal(list.before("c"), "bb");
  assert.equal(list.before("b"), "");
});

test("pools appear, change and leave by events", () => {
  const list = new PoolList();
  list.read("", page(1, [row("a")]));
  const policy = { when_full: "reject" };
  list.apply(told(2, "pool.created", "b", { description: "new", policy }));
  list.apply(told(2, "token.added", "b"));
  assert.deepEqual(counts(list, "b"), [0, 1, 0]);
  list.apply(told(3, "pool.changed", "a", { description: "changed", policy }));
  assert.equal(list.rows.get("a")?.description, "changed");
  assert.deepEqual([...list.doubts], ["b", "a"]);
  list.apply(told(4, "pool.deleted", "a"));
  assert.deepEqual([...list.rows.keys()], ["b"]);
  list.read("", page(5, [row("b")]));
  assert.equal(list.doubts.size, 0);
});

test("the next deadline is known, or known to be past", () => {
  const list = new PoolList();
  list.read("", page(1, [row("a", { active: 2, next_deadline: at(60) })]));
  const a = /** @type {any} */ (list.rows.get("a"));
  list.apply(told(2, "started", "a", { expires_at: at(90) }));
  assert.deepEqual([a.deadline, a.isPast], [START + 60_000, false]);
  list.apply(told(3, "started", "a", { expires_at: at(30) }));
  assert.deepEqual([a.deadline, a.isPast], [START + 30_000, false]);
  list.apply(told(4, "ended", "a", { expires_at: at(30), reason: "released" }));
  assert.deepEqual([a.deadline, a.isPast], [START + 30_000, true]);
  assert.ok(list.doubts.has("a"));
  list.apply(told(5, "started", "a", { expires_at: at(20) }));
  assert.deepEqual([a.deadline, a.isPast], [START + 20_000, false]);
  for (let version = 6; version < 10; version += 1) {
    list.apply(told(version, "ended", "a", { expires_at: at(90), reason: "expired" }));
  }
  assert.equal(a.deadline, null, "a pool without leases has no deadline");
});

test("pools are in the chosen order, and equal ones in that of their names", () => {
  const list = new PoolList();
  list.read("", page(1, [
    row("b", { active: 5, waiting: 2, description: "Licences of the CAD program" }),
    row("c", { active: 5, next_deadline: at(60) }),
    row("a", { active: 10, waiting: 1, next_deadline: at(30) }),
    row("d", { size: 0, available: 0 }),
  ]));
  /** @param {import("../../../crates/dashboard/page/view/overview/order.js").Column} column */
  const names = (column, reverse = false, query = "") =>
    listed(list.rows.values(), query, { column, reverse }).map(({ name }) => name).join("");
  assert.equal(names("name"), "abcd");
  assert.equal(names("name", true), "dcba");
  assert.equal(names("used"), "abcd");
  assert.equal(names("used", true), "dbca");
  assert.equal(names("waiting"), "bacd");
  assert.equal(names("deadline"), "acbd");
  assert.equal(names("name", false, "CAD"), "b");
  assert.ok(fits(/** @type {any} */ (list.rows.get("b")), "cad"));
});

test("the time left is at most the length of a lease, as far as the page's clock may be wrong", () => {
  const policy = /** @type {any} */ ({ lease_seconds: 120 });
  const left = (/** @type {number | null} */ seconds, isPast = false) =>
    timeLeft({ deadline: seconds === null ? null : START + seconds * 1000, isPast, policy }, START);
  assert.deepEqual([left(60), left(120), left(120.4), left(121)], [60_000, 120_000, 120_000, 120_000]);
  assert.equal(left(3600), 3_600_000, "of a lease from before a change of the policy");
  assert.deepEqual([left(null), left(0), left(60, true)], [null, null, null]);
});
