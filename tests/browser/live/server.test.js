// @ts-check
// The data layer against the server itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createApi, Problem } from "../../../crates/dashboard/page/live/api.js";
import { Clock } from "../../../crates/dashboard/page/live/clock.js";
import { Live } from "../../../crates/dashboard/page/live/live.js";
import { Stream, TIMES } from "../../../crates/dashboard/page/live/stream.js";
import { Server } from "../harness/server.js";
import { until } from "../harness/wait.js";
import { NodeSource } from "./ground.js";

/**
 * A page of this server.
 * @param {import("node:test").TestContext} t
 * @param {Server} server
 * @param {Partial<typeof TIMES>} [times]
 */
function pageOf(t, server, times = { beat: 200, patience: 1000, retry: 50, retryMost: 200 }) {
  const clock = new Clock();
  const api = createApi({ base: server.url, clock });
  const open = (/** @type {string} */ path) => (
    /** @type {EventSource} */ (/** @type {unknown} */ (new NodeSource(server.url + path))));
  const page = new Live({ api, clock, openLine: (pool, tell) => {
    const stream = new Stream(tell, { pool, api, open, times });
    stream.start();
    t.after(() => stream.stop());
    return stream;
  } });
  void page.start();
  return { page, api, active: () => page.pool.counts(page.clock.now()).active };
}

/** @param {Live} page */
const live = (page) => until("live", () => page.state === "live");

/**
 * Whether the page says what the server says.
 * @param {Live} page
 * @param {import("../../../crates/dashboard/page/live/api.js").Api} api
 */
async function same(page, api) {
  const told = (await api.tokens()).map(({ id, lease }) => [id, lease?.id ?? null]);
  const now = page.clock.now();
  const shown = page.pool.tokens.map((token) => (
    [token.id, page.pool.holder(token, now)?.id ?? null]));
  return JSON.stringify(told) === JSON.stringify(shown);
}

test("what the API does, in the page's words", async (t) => {
  const server = await Server.start(t, "--pool-size=3", "--lease=60s", "--max-lease=120s");
  const api = createApi({ base: server.url, clock: new Clock() });
  const tokens = await api.tokens();
  assert.equal(tokens.length, 3);
  const first = await api.allocate("ann", { leaseSeconds: 30 });
  assert.equal(first.tokenId, tokens[0].id);
  assert.equal(first.value, tokens[0].value);
  assert.equal(first.lease.user, "ann");
  assert.equal(first.lease.expiresAt - first.lease.startedAt, 30_000);
  assert.deepEqual([first.evicted, first.over], [null, false]);
  assert.deepEqual((await api.tokens())[0].lease, { ...first.lease, userId: (await api.leases(
    { user: "ann" })).leases[0].userId });
  const renewed = await api.renew(first.lease.id);
  assert.ok(renewed.expiresAt > first.lease.expiresAt);
  for (const user of ["bob", "cid"]) await api.allocate(user);
  const fourth = await api.allocate("dan");
  assert.equal(fourth.evicted?.id, first.lease.id);
  assert.equal(fourth.evicted?.user, "ann");
  const { leases, next } = await api.leases({ token_id: first.tokenId });
  assert.equal(next, undefined);
  assert.deepEqual(leases.map(({ user, reason, evictedBy }) => [user, reason, evictedBy]),
    [["dan", null, null], ["ann", "evicted", fourth.lease.id]]);
  const page = await api.leases({ limit: 1, status: "running", user: undefined });
  assert.equal(page.leases[0].user, "dan");
  assert.equal((await api.leases({}, page.next)).leases[0].user, "cid");
  const released = await api.releaseLease(fourth.lease.id);
  assert.equal(released.tokenId, fourth.tokenId);
  assert.equal(await api.clear(), 2);
  await assert.rejects(api.renew(first.lease.id), (/** @type {Problem} */ problem) => {
    assert.deepEqual([problem.status, problem.code], [409, "lease-over"]);
    assert.equal(problem.members.end_reason, "evicted");
    assert.ok(problem.detail.length > 0);
    return true;
  });
});

test("a token's long history comes in pages", async (t) => {
  const server = await Server.start(t, "--pool-size=1");
  const api = createApi({ base: server.url, clock: new Clock() });
  for (let count = 0; count < 120; count += 1) await api.allocate("ann");
  const [{ id }] = await api.tokens();
  const fences = [];
  /** @type {string | undefined} */
  let next;
  do {
    const page = await api.leases({ token_id: id, limit: 50 }, next);
    fences.push(...page.leases.map(({ fence }) => fence));
    next = page.next;
  } while (next !== undefined);
  assert.deepEqual(fences, Array.from({ length: 120 }, (_, row) => 120 - row));
});

test("an allocation whose answer was lost takes no second token", async (t) => {
  const server = await Server.start(t, "--pool-size=3");
  let sent = 0;
  /** @type {typeof fetch} */
  const losing = async (...request) => {
    const answer = await fetch(...request);
    sent += 1;
    if (sent === 1) throw new TypeError("network error");
    return answer;
  };
  const api = createApi({ pool: "default", base: server.url, clock: new Clock(), fetch: losing });
  const { lease } = await api.allocate("ann");
  assert.equal(sent, 2);
  assert.equal(lease.fence, 1);
  assert.equal((await server.pool()).active, 1);
});

test("a server that is not there is a problem of its own kind", async (t) => {
  const server = await Server.start(t);
  const api = createApi({ base: server.url, clock: new Clock() });
  await server.end();
  const unreachable = { name: "Problem", status: 0, code: "unreachable" };
  await assert.rejects(api.pool(), unreachable);
  await server.run();
  server.signal("SIGSTOP");
  await assert.rejects(api.pool({ timeout: 200 }), unreachable);
  server.signal("SIGCONT");
});

test("two pages see what each other does", async (t) => {
  const server = await Server.start(t, "--pool-size=2", "--lease=60s");
  const [one, other] = [pageOf(t, server), pageOf(t, server)];
  await Promise.all([live(one.page), live(other.page)]);
  const { tokenId, lease } = await one.api.allocate("ann");
  await until("both see it", () => one.active() === 1 && other.active() === 1);
  assert.equal(other.page.pool.token(tokenId)?.lease?.user, "ann");
  await one.api.allocate("bob");
  const third = await one.api.allocate("cid");
  assert.equal(third.tokenId, tokenId);
  await until("the eviction", () => other.page.pool.token(tokenId)?.lease?.user === "cid");
  const told = other.page.recent.map(({ kind, user, reason }) => [kind, user, reason]);
  assert.deepEqual(told.slice(-2), [["ended", "ann", "evicted"], ["started", "cid", null]]);
  assert.equal(other.page.recent.slice(-1)[0].evicted, lease.id);
  await other.api.clear();
  await until("both see it", () => one.active() === 0 && other.active() === 0);
});

test("a lease is over at its deadline by the server's clock", async (t) => {
  const server = await Server.start(t, "--pool-size=2", "--lease=60s");
  const { page, api, active } = pageOf(t, server);
  await live(page);
  const { lease } = await api.allocate("ann", { leaseSeconds: 0.3 });
  assert.ok(Math.abs(page.clock.now() - Date.now()) < 100, "of this machine");
  await until("it is shown", () => active() === 1 || page.clock.now() > lease.expiresAt);
  await until("it is over", () => active() === 0);
  assert.ok(page.clock.now() >= lease.expiresAt);
  await until("it is told", () => page.recent.some(({ reason }) => reason === "expired"));
  assert.equal(page.series.buckets(page.clock.now(), 0, []).reduce((sum, { expiries }) => sum + expiries, 0), 1);
});

test("killed and started again, nothing is lost, and the list read once", async (t) => {
  const server = await Server.start(t, "--pool-size=20", "--lease=60s");
  const { page, api, active } = pageOf(t, server);
  await live(page);
  const kept = await api.allocate("ann");
  await until("it is shown", () => active() === 1);
  const reads = server.taken("/api/pools/default/tokens");
  await server.end("SIGKILL");
  await until("lost", () => page.state === "lost");
  await server.elsewhere(async () => {
    await server.release(kept.lease.id);
    for (let count = 0; count < 5; count += 1) await server.allocate(`behind ${count}`);
  });
  await server.run();
  await live(page);
  await until("all that happened", () => active() === 5 && page.recent.length === 7);
  assert.equal(server.taken("/api/pools/default/tokens"), reads + 1);
  assert.ok(await same(page, api));
  assert.deepEqual(page.recent.map(({ kind }) => kind),
    ["started", "ended", "started", "started", "started", "started", "started"]);
});

test("what the journal has no more is read again", async (t) => {
  const server = await Server.start(t, "--pool-size=5", "--lease=60s", "--journal-max-entries=1");
  const { page, api, active } = pageOf(t, server);
  await live(page);
  await server.end();
  await until("lost", () => page.state === "lost");
  await server.elsewhere(async () => {
    for (let count = 0; count < 12; count += 1) await server.allocate(`behind ${count}`);
  });
  await server.run();
  await until("all five are held", () => active() === 5);
  await until("the same as there", () => same(page, api));
});

test("a server that stands still is lost although its connections are open", async (t) => {
  const server = await Server.start(t, "--pool-size=2");
  const { page, active } = pageOf(t, server, { beat: 100, patience: 300, retry: 50 });
  await live(page);
  server.signal("SIGSTOP");
  await until("lost", () => page.state === "lost");
  server.signal("SIGCONT");
  await live(page);
  await server.allocate("ann");
  await until("it hears again", () => active() === 1);
});

test("while much happens every page is right in the end", async (t) => {
  const server = await Server.start(t, "--pool-size=1500", "--lease=60s");
  const { page, api } = pageOf(t, server);
  let stop = false;
  const work = Array.from({ length: 8 }, async (_, worker) => {
    while (!stop) {
      const { lease_id: lease } = await server.allocate(`user ${worker}`);
      if (Math.random() < 0.5) await server.release(lease);
    }
  });
  await live(page);
  await until("a good deal", () => (page.recent[page.recent.length - 1]?.fence ?? 0) > 300, 20_000);
  stop = true;
  await Promise.all(work);
  await until("the same as there", () => same(page, api));
  assert.equal(page.pool.tokens.length, 1500);
});
