// @ts-check
// The client in TypeScript on real servers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Server } from "../browser/harness/server.js";

/** @type {{ tour(url: string): Promise<string[]>, wait(url: string): Promise<string[]> }} */
const client = await import(/** @type {any} */ ("./generated/tour.js"));

test("a client made from the document goes through the tour", async (test) => {
  const server = await Server.start(test, "--pool-size=2", "--max-lease=10m");
  assert.deepEqual(await client.tour(server.url), [
    "Edivan and ann have active leases, 1 and 2",
    "of 2 tokens, held: 2",
    "cid evicted Edivan",
    "Edivan: evicted, now cid",
    "renewed: true, for 30 s",
    "409 lease-over",
    "409 held-otherwise",
    "history: cid null, Edivan evicted",
    "the same key, the same lease: true",
    "400 invalid-user",
    "cleared: 2",
    "ended: dora cleared, cid cleared, ann released, Edivan evicted",
    "evict-oldest, 0 of 2",
  ]);
});

test("it waits for a token", async (test) => {
  const server = await Server.start(test, "--pool-size=1", "--when-full=wait");
  assert.deepEqual(await client.wait(server.url), [
    "503 pool-full, again after true",
    "cid has the token of ann: true",
  ]);
});
