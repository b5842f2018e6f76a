// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { leaseOf, Mine } from "../../../crates/dashboard/page/live/mine.js";
import { until } from "../harness/wait.js";
import { START } from "./ground.js";

/** @param {number} number @param {Record<string, any>} [more] */
function lease(number, more = {}) {
  return { lease_id: `lease-${number}`, pool: "a", token_id: `token-${number}`,
    token_name: `a-${number}`, user: "ann", user_id: "id of ann",
    started_at: new Date(START).toISOString(),
    expires_at: new Date(START + number * 60_000).toISOString(), ...more };
}

/** A server with these leases, which answers when a test says so. */
function server() {
  const made = {
    leases: [lease(1)],
    /** @type {string[]} */
    asked: [],
    answer: Promise.resolve(),
    async request(/** @type {string} */ path) {
      made.asked.push(path);
      const leases = [...made.leases];
      await made.answer;
      const policy = { lease_seconds: 60, max_lease_seconds: 60 };
      const body = path.startsWith("/api/leases") ? { leases, next: null } : { policy };
      return { status: 200, body, next: undefined, etag: undefined };
    },
  };
  return made;
}

/** @param {ReturnType<typeof server>} api */
const mineOf = (api) => new Mine({ api });

/** @param {Mine} mine */
const ids = (mine) => mine.leases.map(({ id }) => id).join(" ");

test("the leases of the user are read, with the policies of their pools", async () => {
  const api = server();
  const mine = mineOf(api);
  mine.look();
  assert.deepEqual(api.asked, [], "without a user");
  mine.follow("ann");
  await until("the lease is known", () => ids(mine) === "lease-1");
  assert.deepEqual(api.asked,
    ["/api/leases?pool=*&user=ann&status=running&limit=200", "/api/pools/a"]);
  assert.equal(mine.lengths("a")?.lease_seconds, 60);
  assert.equal(mine.leases[0].tokenName, "a-1");
  mine.look();
  assert.equal(api.asked.length, 2, "not read again at once");
});

test("events add, renew and end leases", async () => {
  const mine = mineOf(server());
  mine.follow("ann");
  await until("the lease is known", () => ids(mine) === "lease-1");
  mine.apply("started", leaseOf(lease(3)));
  mine.apply("started", leaseOf(lease(2, { user: "bob", user_id: "id of bob" })));
  assert.equal(ids(mine), "lease-1 lease-3");
  mine.apply("started", leaseOf(lease(2, { user: "ANN as a UUID" })));
  assert.equal(ids(mine), "lease-1 lease-2 lease-3", "the same user in another spelling");
  mine.apply("renewed", leaseOf(lease(1, { expires_at: new Date(START + 600_000).toISOString() })));
  assert.equal(ids(mine), "lease-2 lease-3 lease-1", "the next deadline comes first");
  mine.apply("renewed", leaseOf(lease(1)));
  assert.equal(mine.leases[2].expiresAt, START + 600_000, "deadlines only grow");
  mine.apply("ended", leaseOf(lease(2)));
  assert.equal(ids(mine), "lease-3 lease-1");
  assert.equal(mine.running(START + 200_000).length, 1, "a lease is over at its deadline");
});

test("events that come while the leases are read are not lost", async () => {
  const api = server();
  let send = () => {};
  api.answer = new Promise((resolve) => (send = () => resolve(undefined)));
  const mine = mineOf(api);
  mine.follow("ann");
  mine.apply("started", leaseOf(lease(2)));
  mine.apply("ended", leaseOf(lease(1)));
  send();
  await until("the answer was taken", () => api.asked.length >= 2 && ids(mine) === "lease-2");
});

test("another user's leases replace those of the one before", async () => {
  const api = server();
  const mine = mineOf(api);
  mine.follow("ann");
  await until("the lease is known", () => ids(mine) === "lease-1");
  api.leases = [];
  mine.follow("bob");
  assert.equal(ids(mine), "");
  mine.follow("");
  mine.apply("started", leaseOf(lease(5, { user: "" })));
  assert.equal(ids(mine), "");
});
