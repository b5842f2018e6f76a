// @ts-check
// The queue, with the page's own ticket.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

/** @typedef {import("./harness/server.js").Server} Server */

const policy = ["--pool-size=1", "--when-full=wait", "--lease=10m"];
const backMs = 15_000;

/**
 * Draws a ticket, or looks after it, as a program does that waits for long.
 * @param {Server} server
 * @param {string} user
 */
async function draw(server, user) {
  const headers = { "idempotency-key": `"of ${user}"`, prefer: "wait=0" };
  const body = { user_id: user, wait_seconds: 600 };
  const answer = await server.request("POST", "/api/tokens/allocate", { headers, body });
  return { status: answer.status, ...JSON.parse(answer.body.toString()) };
}

describe("the queue", { concurrency: 3 }, () => {
  inBrowser("the page keeps its place while a server is restarted, in the background too", async (stage) => {
    const server = await stage.server(...policy);
    const { lease_id: lease, token_id: id } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    dashboard.expect(/ERR_/, /503/);
    await dashboard.allocate("me");
    await dashboard.reads("#allocate-wait-text", /number 1 .*9m\d+s/);
    assert.equal((await draw(server, "late")).position, 2);

    await dashboard.page.evaluate(standStill);
    await server.end("SIGTERM");
    // Once it knows that the server is away it asks for a sign of life first.
    const attempt = /(allocate|health\/live) net::ERR_CONNECTION_REFUSED/;
    const refused = () => dashboard.complaints.filter((text) => attempt.test(text)).length;
    // Two attempts came to nothing: so there was a pause between them.
    await until("the page retries while the server is down", () => refused() >= 2, backMs);
    await server.run();
    await until("the page asks again", () => server.taken("/api/pools/default/allocate") > 0, backMs);
    assert.equal((await draw(server, "late")).position, 2, "the place was kept");
    await server.release(lease);
    await until("the token is granted", async () => (await server.pool()).active === 1);
    const [{ user }] = await server.tokens();
    assert.equal(user, "me");
    await dashboard.page.evaluate(goOn);
    await dashboard.reads("#allocate-result", /me/);
    await dashboard.live(backMs);
    await dashboard.shows(id, "me");
  }, 60);

  inBrowser("it is listed with one's own place, which can be given up", async (stage) => {
    const server = await stage.server(...policy);
    const { lease_id: lease, token_id: id } = await server.allocate("ann");
    const context = await stage.context();
    const mine = await stage.tab(server, context);
    await mine.load();
    assert.equal(await mine.page.locator("#queue").isVisible(), false);
    assert.equal(server.taken("/api/queue"), 0, "the page does not poll an empty queue");
    await draw(server, "bob");
    await mine.allocate("me");
    await mine.reads("#allocate-wait-text", /number 2 /);
    await mine.until("the title says so", (prefix) => document.title.startsWith(prefix), "#2 · ");
    const row = (/** @type {string} */ user) => mine.page.locator("#queue-list li", { hasText: user });
    await row("me").waitFor();
    assert.deepEqual(await places(mine), ["1 bob", "2 me"]);
    assert.ok(await row("me").getAttribute("data-mine") !== null);
    assert.ok(await row("bob").getAttribute("data-mine") === null);
    const other = await stage.tab(server, context);
    await other.load();
    await other.page.locator("#queue-list li").nth(1).waitFor();

    // Bob is served; the page need not ask to know.
    await server.release(lease);
    await draw(server, "bob");
    await mine.shows(id, "bob");
    await mine.reads("#queue-list", /^1\s+me/);
    await mine.reads("#allocate-wait-text", /number 1 /);
    await mine.page.locator("#allocate-cancel").click();
    await mine.page.locator("#queue").waitFor({ state: "hidden" });
    await mine.reads("#announcer", /\p{Letter}/u);
    await until("the queue is empty", async () => (await server.pool()).waiting === 0);
    const asked = server.taken("/api/queue");
    await other.page.locator("#queue").waitFor({ state: "hidden" });
    assert.ok(asked <= 8, `two tabs asked ${asked} times`);
  }, 60);

  inBrowser("a page that is closed asks first, and leaves no place behind", async (stage) => {
    const server = await stage.server(...policy);
    await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    await dashboard.allocate("me");
    await dashboard.page.locator("#allocate-cancel").waitFor();
    assert.equal((await server.pool()).waiting, 1);
    /** @type {string[]} */
    const asked = [];
    dashboard.page.on("dialog", (dialog) => {
      asked.push(dialog.type());
      void dialog.accept();
    });
    await dashboard.page.goto("about:blank");
    assert.deepEqual(asked, ["beforeunload"]);
    // Much sooner than by its silence.
    await until("the queue is empty", async () => (await server.pool()).waiting === 0, 8000);
  });
});

/** @param {import("./harness/dashboard.js").Dashboard} dashboard */
const places = (dashboard) => dashboard.page.locator("#queue-list li").evaluateAll((rows) =>
  rows.map((row) => `${row.querySelector(".place")?.textContent} ${row.querySelector("bdi")?.textContent}`));

// What follows runs in the page.

/** As in a page that was in the background for long, whose timers wait for a minute. */
function standStill() {
  const all = /** @type {any} */ (globalThis);
  all.right = { setTimeout, clearTimeout: clearTimeout.bind(globalThis), limit: AbortSignal.timeout };
  all.held = new Map();
  all.setTimeout = (/** @type {(value: unknown) => void} */ then, /** @type {unknown[]} */ ...more) => {
    const id = -1 - all.held.size;
    all.held.set(id, () => then(more[1]));
    return id;
  };
  all.clearTimeout = (/** @type {number} */ id) => (
    all.held.has(id) ? all.held.set(id, () => {}) : all.right.clearTimeout(id));
  AbortSignal.timeout = () => new AbortController().signal;
}

function goOn() {
  const all = /** @type {any} */ (globalThis);
  all.setTimeout = all.right.setTimeout;
  all.clearTimeout = all.right.clearTimeout;
  AbortSignal.timeout = all.right.limit;
  for (const then of all.held.values()) then();
}
