// @ts-check
// The client that docs/events.md shows, as its readers use it: in a page of the same origin.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe } from "node:test";
import { startProxy } from "./harness/proxy.js";
import { Server, root } from "./harness/server.js";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {{ heard: string[], holders: string[], states: number[], plain: number }} Seen */

// Reconnecting takes seconds: the browser's own pause, then that of the client.
const backMs = 20_000;

const document = readFileSync(path.join(root, "docs/events.md"), "utf8");
const client = /```js\n(function followLeases\(.*?)```/s.exec(document)?.[1];

/**
 * A page that follows a pool by the document's client, and beside it by an EventSource alone.
 * @param {import("./harness/stage.js").Stage} stage
 * @param {string} url
 * @param {boolean} [plain] whether there is also one without the client
 */
async function follow(stage, url, plain = false) {
  const page = await (await stage.context()).newPage();
  // Any page of the origin will do.
  await page.goto(`${url}/health/live`);
  const given = { client: client ?? "", plain };
  await page.evaluate(begin, given);
  await until("the client has the list", async () => (await seen(page)).states.includes(1));
  return page;
}

/** @param {Page} page @returns {Promise<Seen>} */
const seen = (page) => page.evaluate(() => /** @type {any} */ (globalThis).seen());

/**
 * Causes events, and returns the expected ones.
 * @param {Server} server
 * @param {...string} users
 */
async function happen(server, ...users) {
  const expected = [];
  for (const user of users) {
    const { lease_id: lease } = await server.allocate(user);
    expected.push(`started ${user}`);
    if (user.startsWith("gone")) {
      await server.release(lease);
      expected.push(`ended ${user}`);
    }
  }
  return expected;
}

describe("the documented client of events", { concurrency: 2 }, () => {
  inBrowser("it misses nothing while a server behind HAProxy is restarted", async (stage) => {
    const server = await stage.server("--pool-size=20", "--lease=10m");
    const url = await startProxy(stage.test, server);
    await server.allocate("before");
    const page = await follow(stage, url, true);
    const expected = await happen(server, "ann", "gone-1");
    await until("what happens is heard", async () => (await seen(page)).heard.length === 3);

    await server.end("SIGTERM");
    // HAProxy answers 503 meanwhile, after which an EventSource alone stays closed.
    await until("an EventSource alone gives up", async () => (await seen(page)).plain === 2, backMs);
    await server.elsewhere(async () => {
      expected.push(...await happen(server, "behind-1", "gone-2", "behind-2"));
    });
    await server.run();
    expected.push(...await happen(server, "bob", "gone-3"));
    const all = expected.length;
    await until("all is heard", async () => (await seen(page)).heard.length >= all, backMs);
    expected.push(...await happen(server, "cid"));
    await until("and what comes then", async () => (await seen(page)).heard.length > all);
    const { heard, holders, plain } = await seen(page);
    assert.deepEqual(heard, expected, "in order, none missed and none twice");
    assert.deepEqual(holders, ["ann", "before", "behind-1", "behind-2", "bob", "cid"]);
    assert.equal(plain, 2);
  }, 60);

  inBrowser("it comes back to a server that had no room for its stream", async (stage) => {
    const server = await stage.server("--pool-size=20", "--lease=10m", "--max-event-streams=1");
    const page = await follow(stage, server.url);
    const expected = await happen(server, "ann");
    await until("what happens is heard", async () => (await seen(page)).heard.length === 1);

    await server.end("SIGKILL");
    await server.run();
    const leave = new AbortController();
    const other = await fetch(`${server.url}/api/events`, { signal: leave.signal });
    assert.equal(other.status, 200, "another client has the only stream");
    await until("the client is refused", async () => (await seen(page)).states.includes(2), backMs);
    expected.push(...await happen(server, "bob", "gone-1"));
    leave.abort();
    const all = expected.length;
    await until("all is heard", async () => (await seen(page)).heard.length >= all, backMs);
    const { heard, holders } = await seen(page);
    assert.deepEqual(heard, expected);
    assert.deepEqual(holders, ["ann", "bob"]);
  }, 60);

  inBrowser("it reads the list again where events are missing", async (stage) => {
    const server = await stage.server("--pool-size=20", "--lease=10m", "--journal-max-entries=1");
    const page = await follow(stage, server.url);
    await happen(server, "ann");
    await until("what happens is heard", async () => (await seen(page)).heard.length === 1);
    await server.end("SIGKILL");
    await server.elsewhere(async () => {
      await server.ask("DELETE", "/api/tokens/clear-active");
      for (const user of "bcdefghijklm") await server.allocate(user);
    });
    await server.run();
    await until("the list is right", async () => (
      `${(await seen(page)).holders}` === `${[..."bcdefghijklm"]}`), backMs);
    await happen(server, "zoe");
    await until("and stays right", async () => (await seen(page)).holders.includes("zoe"));
  }, 60);
});

// What follows runs in the page.

/** @param {{ client: string, plain: boolean }} given */
function begin({ client, plain }) {
  /** @type {string[]} */
  const heard = [];
  /** @type {number[]} the state of the newest EventSource, each time that it is looked at */
  const states = [];
  /** @type {EventSource | undefined} */
  let latest;
  const Original = EventSource;
  const alone = plain ? new Original("/api/events") : undefined;
  Object.assign(globalThis, { EventSource: class extends Original {
    /** @param {string} url */
    constructor(url) {
      super(url);
      latest = this;
      for (const kind of ["open", "error"]) {
        this.addEventListener(kind, () => states.push(this.readyState));
      }
    }
  } });
  const follow = new Function(`${client}; return followLeases;`)();
  const leases = follow((/** @type {string} */ kind, /** @type {any} */ lease) => {
    heard.push(`${kind} ${lease.user}`);
  });
  const holders = () => [...leases.values()].flatMap((lease) => (lease.ended_at ? [] : lease.user));
  Object.assign(globalThis, { seen: () => (
    { heard, states, plain: alone?.readyState, holders: holders().sort(), now: latest?.readyState }) });
}
