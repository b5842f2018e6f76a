// @ts-check
// The page of all pools: figures that keep current, order, filter, keyboard, and a thousand pools.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

/** @typedef {import("./harness/dashboard.js").Dashboard} Dashboard */
/** @typedef {import("./harness/server.js").Server} Server */
/** @typedef {import("./harness/stage.js").Stage} Stage */

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const POOLS = {
  staging: { description: "Staging environments", when_full: "wait", lease: "30m", max_lease: "8h",
    tokens: [{ name: "staging-1", value: "a" }, { name: "staging-2", value: "b" }] },
  licences: { description: "Seats of the CAD program", when_full: "reject", tokens_generated: 4 },
  empty: {},
};

/**
 * The page of all pools in a tab of ann, live.
 * @param {Stage} stage @param {Server} server
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
async function overview(stage, server, options) {
  const context = await stage.context(options);
  await context.addInitScript(() => localStorage.setItem("token-manager.user", "ann"));
  const dashboard = await stage.tab(server, context);
  await dashboard.page.goto(server.url);
  await dashboard.state("live");
  return dashboard;
}

/** @param {Dashboard} dashboard @param {string} pool */
const row = (dashboard, pool) => dashboard.page.locator(`#pools-body [data-pool="${pool}"]`);

/** @param {Dashboard} dashboard @param {string} names */
async function lists(dashboard, names) {
  await dashboard.until(`the list is ${names}`, listIs, names);
}

/** @param {Server} server @param {string} pool @param {string} user */
const allocate = (server, pool, user, more = {}) =>
  server.ask("POST", `/api/pools/${pool}/allocate`, { user, ...more });

describe("the page of all pools", { concurrency: 3 }, () => {
  inBrowser("figures of all pools are shown, and keep current by events", async (stage) => {
    const server = await stage.server("--pool-size=5");
    await server.ask("PUT", "/api/pools", { pools: POOLS });
    const ann = await allocate(server, "staging", "ann");
    const dashboard = await overview(stage, server);
    await lists(dashboard, "default empty licences staging");
    const staging = `#pools-body [data-pool="staging"]`;
    await dashboard.reads(`${staging} .pool-figure`, /^1\D+2$/);
    await dashboard.reads(`${staging} .pool-name`, /Staging environments/);
    await dashboard.reads(`${staging} .pool-deadline .value`, /^(29m|30m)/);
    await dashboard.reads("#sum-active", /^1$/);
    await dashboard.reads("#sum-size", /11/);

    const bob = await allocate(server, "staging", "bob");
    await dashboard.reads(`${staging} .pool-figure`, /^2\D+2$/);
    await dashboard.reads(`${staging} .available .value`, /^0$/);
    assert.match((await row(dashboard, "staging").getAttribute("class")) ?? "", /\bfull\b/);
    await server.allocate("cid");
    await dashboard.reads("#sum-active", /^3$/);
    await server.release(bob.lease_id);
    await server.release(ann.lease_id);
    await dashboard.reads(`${staging} .pool-figure`, /^0\D+2$/);

    await server.ask("PUT", "/api/pools/new", { description: "of today", tokens_generated: 3 });
    await lists(dashboard, "default empty licences new staging");
    await dashboard.reads(`#pools-body [data-pool="new"] .pool-figure`, /^0\D+3$/);
    await server.ask("DELETE", "/api/pools/empty");
    await lists(dashboard, "default licences new staging");
    const wait = { body: { user: "dan", wait_seconds: 30, token: "staging-1" } };
    await allocate(server, "staging", "ann", { token: "staging-1" });
    const waiting = server.request("POST", "/api/pools/staging/allocate", wait).catch(() => {});
    await dashboard.reads(`${staging} .waiting .value`, /^1$/);
    await server.end();
    await waiting;
    await dashboard.state("lost");
    dashboard.expect(/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/);
    await server.run();
    await dashboard.state("live");
    await dashboard.reads(`${staging} .waiting .value`, /^0$/);

    await dashboard.page.locator("#new-pool").click();
    await dashboard.page.locator("#policy-name").fill("made");
    await dashboard.page.locator("#policy-submit").click();
    await dashboard.page.waitForURL(`${server.url}/pools/made`);
    await dashboard.state("live");
  });

  inBrowser("the list is sorted, filtered and walked through by keyboard", async (stage) => {
    const server = await stage.server("--pool-size=4");
    await server.ask("PUT", "/api/pools", { pools: POOLS });
    await allocate(server, "staging", "ann");
    await allocate(server, "licences", "ann", { lease_seconds: 60 });
    const dashboard = await overview(stage, server);
    const { keyboard } = dashboard.page;
    await lists(dashboard, "default empty licences staging");
    const used = dashboard.page.locator('#pools-head [data-column="used"]');
    await used.click();
    await lists(dashboard, "staging licences default empty");
    assert.equal(await used.locator("..").getAttribute("aria-sort"), "descending");
    await used.click();
    await lists(dashboard, "empty default licences staging");
    await dashboard.page.locator('#pools-head [data-column="deadline"]').click();
    await lists(dashboard, "licences staging default empty");
    await dashboard.page.reload();
    await lists(dashboard, "licences staging default empty");

    await dashboard.page.locator("body").press("/");
    assert.equal(await dashboard.focus(), "#search");
    await keyboard.type("CAD");
    await lists(dashboard, "licences");
    await until("the search is in the address", () => dashboard.page.url().endsWith("/?q=CAD"));
    await keyboard.press("Escape");
    await lists(dashboard, "licences staging default empty");
    await keyboard.press("ArrowDown");
    await dashboard.until("the first pool has the focus", focusIsOn, "licences");
    await keyboard.press("End");
    await dashboard.until("the last pool has the focus", focusIsOn, "empty");
    await keyboard.press("ArrowUp");
    await keyboard.press("ArrowUp");
    await dashboard.until("another pool has the focus", focusIsOn, "staging");
    await allocate(server, "default", "bob", { lease_seconds: 30 });
    await lists(dashboard, "default licences staging empty");
    await dashboard.until("the pool keeps the focus", focusIsOn, "staging");
    await keyboard.press("Enter");
    await dashboard.page.waitForURL(`${server.url}/pools/staging`);
    await dashboard.state("live");
  });

  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    inBrowser(`it has no error of accessibility and no overflow: ${colorScheme}`, async (stage) => {
      const server = await stage.server("--pool-size=4");
      const long = "a-very-long-name-of-a-pool-".repeat(2).slice(0, 63).replace(/-$/, "x");
      const description = "An endless description without any end ".repeat(5).slice(0, 200).trim();
      await server.ask("PUT", "/api/pools", { pools: { ...POOLS, [long]: { description } } });
      await allocate(server, "staging", "ann", { note: description });
      for (const width of [1280, 360]) {
        const viewport = { width, height: 800 };
        const dashboard = await overview(stage, server, { colorScheme, viewport });
        await lists(dashboard, `${long} default empty licences staging`);
        await dashboard.page.locator("#mine").waitFor();
        assert.equal(await dashboard.overflow(), null);
        await dashboard.page.evaluate(axe);
        assert.deepEqual(await dashboard.page.evaluate(axeSays), []);
        await dashboard.page.locator("#search").fill("staging");
        await dashboard.page.locator("#found a").nth(1).waitFor();
        assert.equal(await dashboard.overflow(), null);
        assert.deepEqual(await dashboard.page.evaluate(axeSays), []);
      }
    });
  }
});

// Alone, since it measures: a machine that runs tests is slow and shared, and draws without a
// graphics card.
inBrowser("a thousand pools at 200 events a second stay smooth", (stage) => busy(stage), 120);

/** @param {Stage} stage */
async function busy(stage) {
  const server = await stage.server("--pool-size=100", "--access-log=false");
  const names = Array.from({ length: 999 }, (_, i) => `pool-${String(i + 1).padStart(3, "0")}`);
  for (let first = 0; first < names.length; first += 50) {
    const some = names.slice(first, first + 50).map((name) => [name, { tokens_generated: 100 }]);
    await server.ask("PUT", "/api/pools", { pools: Object.fromEntries(some) });
  }
  const dashboard = await overview(stage, server);
  await dashboard.reads("#sum-pools", /1,000/);
  assert.ok((await dashboard.page.locator("#pools-body .pool").count()) < 60, "only visible rows");
  await dashboard.page.evaluate(watchTasks);
  const driving = drive(server, names, 5000);
  await pause(1500);
  /** @type {number[]} */
  const answers = [];
  for (const [text, count] of /** @type {const} */ ([["pool-0", 99], ["pool-00", 9], ["00", 18]])) {
    answers.push(await dashboard.page.evaluate(typed, { text, count }));
  }
  const events = await driving;
  const longest = await dashboard.page.evaluate(longestTask);
  console.log(`1,000 pools, ${Math.round(events / 5)} events/s: longest task ${Math.round(longest)} ms, ` +
    `the filter answers within ${Math.round(Math.max(...answers))} ms`);
  assert.ok(events >= 500, `${events} events`);
  assert.ok(longest <= 200, "no task of the main thread is longer than 200 ms");
  assert.ok(Math.max(...answers) <= 300, "the filter answers within 300 ms");
  await dashboard.page.locator("#search").fill("");
  const { pools: told } = await server.ask("GET", "/api/pools");
  const active = told.reduce((/** @type {number} */ sum, /** @type {any} */ pool) => sum + pool.active, 0);
  await dashboard.until("the sum is the server's", sumIs, active);
}

/**
 * Allocates and releases in all pools, 200 events a second.
 * @param {Server} server @param {string[]} names @param {number} milliseconds
 */
async function drive(server, names, milliseconds) {
  const started = performance.now();
  /** @type {Set<Promise<unknown>>} */
  const open = new Set();
  /** @type {string[]} */
  const held = [];
  let events = 0;
  for (let past = 0; past < milliseconds; past = performance.now() - started) {
    while (events < (past / 1000) * 200 && open.size < 16) {
      const pool = names[(events * 389) % names.length];
      const asked = events % 3 === 2 && held.length > 0
        ? server.release(/** @type {string} */ (held.shift()))
        : allocate(server, pool, `user-${events % 97}`)
          .then(({ lease_id: id }) => held.push(id));
      open.add(asked);
      void asked.finally(() => open.delete(asked));
      events += 1;
    }
    await pause(5);
  }
  await Promise.all(open);
  return events;
}

// The functions below run in the page.

/** @param {string} names */
function listIs(names) {
  const rows = [...document.querySelectorAll("#pools-body .pool")];
  return rows.map((row) => row.getAttribute("data-pool")).join(" ") === names;
}

/** @param {string} pool */
function focusIsOn(pool) {
  return document.activeElement?.closest(".pool")?.getAttribute("data-pool") === pool;
}

/** @returns {Promise<string[]>} */
async function axeSays() {
  const { violations } = await /** @type {any} */ (globalThis).axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  });
  return violations.map((/** @type {any} */ { id, nodes }) =>
    `${id}: ${nodes.map((/** @type {any} */ node) => node.target).join(", ")}`);
}

function watchTasks() {
  /** @type {number[]} */
  const tasks = [0];
  /** @type {any} */ (globalThis).tasks = tasks;
  const take = (/** @type {PerformanceObserverEntryList} */ list) =>
    tasks.push(...list.getEntries().map(({ duration }) => duration));
  new PerformanceObserver(take).observe({ type: "longtask" });
}

function longestTask() {
  return Math.max(.../** @type {any} */ (globalThis).tasks);
}

/** Time from typing until the list shows the number of pools. @param {{ text: string, count: number }} wanted */
function typed({ text, count }) {
  const field = /** @type {HTMLInputElement} */ (document.querySelector("#search"));
  const started = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  return new Promise((resolve) => {
    const look = () => {
      const rows = document.querySelector("#pools")?.getAttribute("aria-rowcount");
      if (rows === `${count + 1}`) resolve(performance.now() - started);
      else if (performance.now() - started > 5000) resolve(5000);
      else requestAnimationFrame(look);
    };
    look();
  });
}

/** @param {number} active */
function sumIs(active) {
  return document.querySelector("#sum-active")?.textContent?.replace(/\D/g, "") === `${active}`;
}
