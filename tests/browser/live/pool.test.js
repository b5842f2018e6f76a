// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Pool } from "../../../crates/dashboard/page/live/pool.js";
import { happening, lease, rows, START, tokenId } from "./ground.js";

/** @param {Parameters<typeof rows>} list */
function poolOf(...list) {
  const pool = new Pool();
  pool.replace(rows(...list));
  return pool;
}

test("a lease begins, is renewed and ends", () => {
  const pool = poolOf(2);
  assert.deepEqual(pool.counts(START), { size: 2, active: 0, tainted: 0, available: 2 });
  assert.equal(pool.apply(happening("started", 1, 5)), 1);
  assert.equal(pool.token(tokenId(1))?.lease?.user, "user 5");
  assert.deepEqual(pool.counts(START), { size: 2, active: 1, tainted: 0, available: 1 });
  assert.equal(pool.apply(happening("renewed", 1, 5, { expiresAt: START + 300_000 })), 1);
  assert.equal(pool.tokens[1].lease?.expiresAt, START + 300_000);
  assert.equal(pool.apply(happening("ended", 1, 5)), 1);
  assert.equal(pool.tokens[1].lease, null);
  assert.deepEqual(pool.counts(START), { size: 2, active: 0, tainted: 0, available: 2 });
});

test("repeated and late news change nothing", () => {
  const pool = poolOf(1);
  const started = happening("started", 0, 5);
  pool.apply(started);
  pool.apply(happening("renewed", 0, 5, { expiresAt: START + 300_000 }));
  const { revision } = pool;
  assert.equal(pool.apply(started), -1);
  assert.equal(pool.apply(happening("renewed", 0, 5, { expiresAt: START + 200_000 })), -1);
  assert.equal(pool.apply(happening("started", 0, 4)), -1);
  assert.equal(pool.apply(happening("ended", 0, 4)), -1);
  assert.equal(pool.tokens[0].lease?.expiresAt, START + 300_000);
  pool.apply(happening("ended", 0, 5));
  assert.equal(pool.revision, revision + 1);
  for (const kind of /** @type {const} */ (["started", "renewed", "ended"])) {
    assert.equal(pool.apply(happening(kind, 0, 5)), -1, kind);
  }
  assert.equal(pool.tokens[0].lease, null, "what is over stays over");
  assert.equal(pool.revision, revision + 1);
});

test("news in the wrong order end as in the right one", () => {
  const pool = poolOf(1);
  pool.apply(happening("ended", 0, 5));
  pool.apply(happening("started", 0, 6));
  pool.apply(happening("started", 0, 5));
  pool.apply(happening("ended", 0, 5));
  assert.equal(pool.tokens[0].lease?.fence, 6);
  pool.apply(happening("ended", 0, 8));
  assert.equal(pool.counts(START).active, 0, "the end of a later one is the end of those before");
  pool.apply(happening("started", 0, 7));
  assert.equal(pool.counts(START).active, 0, "also for one that is told later");
  pool.apply(happening("renewed", 0, 9));
  assert.equal(pool.tokens[0].lease?.fence, 9, "a renewal says that there is a lease");
});

test("a list that is newer than the events that follow is right in the end", () => {
  const pool = poolOf(2, { 0: lease(7) });
  for (const [kind, fence] of /** @type {const} */ ([
    ["started", 5], ["ended", 5], ["started", 7],
  ])) {
    assert.equal(pool.apply(happening(kind, 0, fence)), -1);
    assert.equal(pool.tokens[0].lease?.fence, 7);
  }
  // The list says that token 1 is free, since lease 6 is over; its events come all the same.
  pool.apply(happening("started", 1, 6));
  pool.apply(happening("ended", 1, 6));
  assert.equal(pool.tokens[1].lease, null);
});

test("a list that is older than the events before it is put right by them", () => {
  const pool = poolOf(2);
  const meanwhile = [happening("started", 0, 5), happening("ended", 1, 4)];
  for (const event of meanwhile) pool.apply(event);
  pool.replace(rows(2, { 1: lease(4) }));
  for (const event of meanwhile) pool.apply(event);
  assert.equal(pool.tokens[0].lease?.fence, 5);
  assert.equal(pool.tokens[1].lease, null);
});

test("after a restored database smaller fences are taken", () => {
  const pool = poolOf(1, { 0: lease(50) });
  pool.replace(rows(1));
  assert.equal(pool.apply(happening("started", 0, 3)), 0);
  assert.equal(pool.tokens[0].lease?.fence, 3);
});

test("a lease is over at its deadline, whether or not that was told", () => {
  const pool = poolOf(3, { 0: lease(1, START + 1000), 1: lease(2, START + 500) });
  assert.equal(pool.counts(START + 499).active, 2);
  assert.equal(pool.nextToExpire(START + 499)?.position, 1);
  assert.equal(pool.nextToEvict(START + 499)?.position, 0);
  assert.equal(pool.counts(START + 500).active, 1);
  assert.equal(pool.holder(pool.tokens[1], START + 500), null);
  assert.equal(pool.holder(pool.tokens[0], START + 500)?.fence, 1);
  assert.deepEqual(pool.overdue(START + 500).map(({ fence }) => fence), [2]);
  assert.equal(pool.nextToExpire(START + 500)?.position, 0);
  assert.equal(pool.counts(START + 1000).active, 0);
  assert.equal(pool.nextToExpire(START + 1000), null);
  assert.equal(pool.nextToEvict(START + 1000), null);
  assert.equal(pool.counts(START).active, 2, "also when the clock is put back");
});

test("the next to be evicted began first, whatever its deadline", () => {
  const pool = poolOf(2, { 0: lease(9, START + 1000), 1: lease(8, START + 9000) });
  assert.equal(pool.nextToEvict(START)?.position, 1);
  assert.equal(pool.nextToExpire(START)?.position, 0);
  // An eviction: its end and the start that it was for.
  pool.apply(happening("ended", 1, 8, { reason: "evicted" }));
  pool.apply(happening("started", 1, 10));
  assert.equal(pool.nextToEvict(START)?.position, 0);
  assert.equal(pool.counts(START).active, 2);
});

test("tokens that are not known are passed over", () => {
  const pool = poolOf(1);
  assert.equal(pool.apply(happening("started", 7, 5)), -1);
  assert.equal(pool.token(tokenId(7)), undefined);
});
