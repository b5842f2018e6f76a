// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "../../../crates/dashboard/page/live/api.js";
import { Clock } from "../../../crates/dashboard/page/live/clock.js";
import { Live, RECENT } from "../../../crates/dashboard/page/live/live.js";
import { until } from "../harness/wait.js";
import { info, lease, rows, START, told, tokenId } from "./ground.js";

/** @typedef {import("../../../crates/dashboard/page/live/stream.js").Message} Message */
/** @typedef {import("../../../crates/dashboard/page/live/shape.js").Row} Row */
/** @typedef {import("../../../crates/dashboard/page/live/shape.js").PastLease} PastLease */

/** A page whose stream and lists are in the test's hands. */
async function stage() {
  /** @type {{ resolve(rows: Row[]): void, reject(problem: Error): void }[]} */
  const lists = [];
  /** @type {PastLease[]} */
  const past = [];
  /** @type {(message: Message) => void} */
  let tell = () => {};
  const clock = new Clock();
  const now = performance.now();
  clock.learn(START, now, now);
  const live = new Live({
    clock,
    api: {
      poolName: async () => "default",
      tokens: () => new Promise((resolve, reject) => lists.push({ resolve, reject })),
      leases: async (query) => ({ leases: query.at ? [] : past, next: undefined }),
    },
    openLine: (_pool, to) => {
      tell = to;
      return { start() {}, stop() {} };
    },
  });
  /** @type {string[]} */
  const seen = [];
  /** @type {(number[] | null)[]} */
  const positions = [];
  for (const type of ["pool", "info", "state", "recent", "series"]) {
    live.addEventListener(type, (event) => {
      seen.push(type);
      if (type === "pool") positions.push(/** @type {any} */ (event).detail.positions);
    });
  }
  await live.start();
  return {
    live, lists, past, seen, positions,
    tell: (/** @type {Message} */ message) => tell(message),
    /** @param {["started" | "renewed" | "ended", any][]} events */
    happen: (...events) => tell({ type: "events", text: JSON.stringify(events) }),
    /** @param {number} number of the list, from 1 */
    list: (number) => until(`list ${number}`, () => lists[number - 1]),
  };
}

/** @param {Row[]} tokens */
async function running(tokens) {
  const on = await stage();
  on.tell({ type: "info", info: info(1, { size: tokens.length }), sentAt: 0, takenAt: 0 });
  on.tell({ type: "load" });
  on.tell({ type: "state", state: "live" });
  (await on.list(1)).resolve(tokens);
  await until("the list and the history", () => on.seen.includes("series"));
  await until("all is told", () => on.positions.length > 0);
  on.seen.length = 0;
  on.positions.length = 0;
  return on;
}

test("live only when the pool was read, and by the news that came meanwhile", async () => {
  const on = await stage();
  on.tell({ type: "load" });
  on.tell({ type: "state", state: "live" });
  assert.equal(on.live.state, "connecting");
  on.happen(["started", told(0, 5)], ["ended", told(1, 4, { ended_at: told(1, 4).started_at })]);
  (await on.list(1)).resolve(rows(3, { 1: lease(4) }));
  await until("live", () => on.live.state === "live");
  assert.equal(on.live.pool.tokens[0].lease?.fence, 5);
  assert.equal(on.live.pool.tokens[1].lease, null);
  assert.deepEqual(on.live.recent.map(({ kind, position }) => [kind, position]),
    [["started", 0], ["ended", 1]], "and their places are known now");
  assert.equal(on.positions[on.positions.length - 1], null);
});

test("what happens is told at once, and together while much happens", async () => {
  const on = await running(rows(50));
  await new Promise((resolve) => setTimeout(resolve, 30));
  on.happen(["started", told(7, 1)]);
  assert.deepEqual(on.positions, [[7]]);
  for (let fence = 2; fence < 40; fence += 1) on.happen(["started", told(fence, fence)]);
  assert.equal(on.positions.length, 1);
  await until("the others", () => on.positions.length === 2);
  assert.equal(on.positions[1]?.length, 38);
  assert.deepEqual(on.seen, ["pool", "recent", "pool", "recent"]);
  assert.equal(on.live.pool.counts(START).active, 38);
});

test("of much that happens only the latest is kept", async () => {
  const on = await running(rows(1));
  on.happen(...Array.from({ length: 1000 }, (_, fence) => (
    /** @type {["started", any]} */ (["started", told(0, fence + 1)]))));
  assert.equal(on.live.recent.length, RECENT);
  assert.equal(on.live.recent[RECENT - 1].fence, 1000);
});

test("a list that was asked for before another call to read it is not the last", async () => {
  const on = await running(rows(1));
  on.tell({ type: "load" });
  await on.list(2);
  on.tell({ type: "load" });
  on.lists[1].resolve(rows(1, { 0: lease(3) }));
  (await on.list(3)).resolve(rows(1));
  await until("the newer list", () => on.live.pool.tokens[0].lease === null);
});

test("a list that can't be read is said once, and read when the server is back", async () => {
  const on = await running(rows(1));
  on.tell({ type: "load" });
  (await on.list(2)).reject(new Problem(0, { code: "unreachable" }));
  await until("lost", () => on.live.state === "lost");
  assert.deepEqual(on.seen, ["state"]);
  assert.equal(/** @type {Problem} */ (on.live.problem).code, "unreachable");
  (await on.list(3)).reject(new Problem(0, { code: "unreachable" }));
  on.tell({ type: "state", state: "lost" });
  await new Promise((resolve) => setTimeout(resolve, 0));
  on.tell({ type: "state", state: "live" });
  const asked = performance.now();
  (await on.list(4)).resolve(rows(1, { 0: lease(9) }));
  assert.ok(performance.now() - asked < 500, "without another pause");
  await until("live", () => on.live.state === "live");
  assert.equal(on.live.pool.counts(START).active, 1);
  assert.equal(on.live.problem, null);
});

test("tokens that are not known, and other figures than the server's, are read", async () => {
  const on = await running(rows(1));
  on.happen(["started", told(3, 1)]);
  (await on.list(2)).resolve(rows(4));
  await until("four", () => on.live.pool.tokens.length === 4);
  const figures = (/** @type {number} */ active) => (
    on.tell({ type: "info", info: info(2, { size: 4, active }), sentAt: 0, takenAt: 0 }));
  figures(0);
  figures(1);
  figures(0);
  figures(1);
  assert.equal(on.lists.length, 2, "once may be chance");
  figures(2);
  (await on.list(3)).resolve(rows(4, { 0: lease(8), 1: lease(9) }));
  await until("two", () => on.live.pool.counts(START).active === 2);
  for (let times = 0; times < 9; times += 1) figures(1);
  assert.equal(on.lists.length, 3, "and not again and again");
});

test("after a loss it is lost until the list was read, which may be another pool's", async () => {
  const on = await running(rows(2));
  on.happen(["started", told(0, 5)]);
  assert.equal(on.live.recent.length, 1);
  on.tell({ type: "state", state: "lost" });
  const known = on.live.currentAt;
  on.tell({ type: "load" });
  on.tell({ type: "info", info: info(9), sentAt: 0, takenAt: 0 });
  on.tell({ type: "state", state: "live" });
  assert.equal(on.live.state, "lost");
  assert.equal(on.live.currentAt, known, "the shown time stays the same");
  (await on.list(2)).resolve([{ ...rows(1)[0], id: "another" }]);
  await until("live", () => on.live.state === "live");
  assert.ok(on.live.currentAt > known);
  assert.deepEqual(on.live.recent, []);
  await until("the history", () => on.live.used === false);
});

test("a changed policy is told", async () => {
  const on = await running(rows(1));
  const changed = info(2, { size: 1, waiting: 4 });
  changed.policy.when_full = "wait";
  on.tell({ type: "info", info: changed, sentAt: 0, takenAt: 0 });
  assert.deepEqual(on.seen, ["info"]);
  assert.equal(on.live.info?.policy.when_full, "wait");
  assert.equal(on.live.info?.waiting, 4);
});

test("the last minutes come from the history, and nothing twice", async () => {
  const on = await stage();
  const now = Math.floor(on.live.clock.now());
  on.past.push(
    { ...lease(2), tokenId: tokenId(1), startedAt: now - 9000, endedAt: null, reason: null,
      evictedBy: null, pool: "default", tokenName: "2", note: null, by: null, endedBy: null },
    { ...lease(1), tokenId: tokenId(0), startedAt: now - 10_000, endedAt: now - 9000,
      reason: "expired", evictedBy: null, pool: "default", tokenName: "1", note: null, by: null, endedBy: null });
  on.tell({ type: "load" });
  on.happen(["started", told(1, 2, { started_at: new Date(now - 9000).toISOString() })]);
  (await on.list(1)).resolve(rows(2, { 1: lease(2, now + 60_000) }));
  await until("the history", () => on.seen.includes("series"));
  assert.deepEqual(on.live.recent.map(({ kind, fence, position }) => [kind, fence, position]),
    [["started", 1, 0], ["ended", 1, 0], ["started", 2, 1]]);
  const sum = on.live.series.buckets(now, 0, []).reduce((total, { allocations }) => total + allocations, 0);
  assert.equal(sum, 2);
  on.happen(["ended", told(0, 1, { ended_at: new Date(now - 9000).toISOString() })]);
  assert.equal(on.live.recent.length, 3, "told late, but known already");
});
