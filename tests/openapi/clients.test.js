// @ts-check
// The clients in TypeScript and Python on real servers.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { Server } from "../browser/harness/server.js";

/** @type {{ tour(url: string): Promise<string[]>, wait(url: string): Promise<string[]> }} */
const client = await import(/** @type {any} */ ("./generated/tour.js"));

/** @typedef {Record<"refused" | "over", (url: string) => Promise<string[]>>} Problems */

/** @type {Problems} */
const typeScript = await import(/** @type {any} */ ("./generated/problems.js"));

/** @param {string} what @param {string} url */
async function python(what, url) {
  const program = process.env.PYTHON ?? "python3";
  const env = { ...process.env, PYTHONPATH: "generated", no_proxy: "*" };
  const { stdout } = await promisify(execFile)(program, ["problems.py", what, url], { env });
  return stdout.trimEnd().split("\n");
}

/** @type {[string, Problems][]} */
const clients = [
  ["TypeScript", typeScript],
  ["Python", { refused: (url) => python("refused", url), over: (url) => python("over", url) }],
];

test("a client made from the document goes through the tour", async (test) => {
  const server = await Server.start(test, "--pool-size=2", "--max-lease=10m");
  assert.deepEqual(await client.tour(server.url), [
    "Edivan and ann have active leases, 1 and 2",
    "of 2 tokens, held: 2",
    "cid evicted Edivan",
    "Edivan: evicted, now cid",
    "renewed: true, for 30 s",
    "409 lease-over",
    "409 holder-mismatch",
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
    "dan is number 1, and has given_up the place",
  ]);
});

for (const [language, problems] of clients) {
  test(`a client in ${language} reads why an allocation was refused`, async (test) => {
    const pool = ["--pool-size=1", "--when-full=reject", "--max-per-user=1"];
    const server = await Server.start(test, ...pool);
    assert.deepEqual(await problems.refused(server.url), [
      "at most 1 for each user",
      "number 1 in the queue",
      "400: user_id must not be empty.",
    ]);
  });

  test(`a client in ${language} reads the outcome of a lease`, async (test) => {
    const server = await Server.start(test, "--pool-size=1");
    assert.deepEqual(await problems.over(server.url), [
      "evicted for bob: true",
      "until its deadline: true",
      "held by bob",
      "4 lines of CSV",
    ]);
  });
}
