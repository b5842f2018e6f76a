// @ts-check
// Several people at once, and several tabs of one.

import assert from "node:assert/strict";
import { inBrowser } from "./harness/stage.js";
import { median } from "./harness/wait.js";

/** @typedef {import("./harness/dashboard.js").Dashboard} Dashboard */

const limitMs = 100;
const actions = 10;
// Something else may keep the machine busy for a second, which is no fault of the page: the
// measurement is repeated up to three times. One that is good enough can't come about by luck.
const attempts = 3;

inBrowser("two contexts see each other's actions at once", async (stage) => {
  const server = await stage.server("--pool-size=20");
  await seeEachOther(await stage.dashboard(server), await stage.dashboard(server), "two contexts");
});

inBrowser("two browsers see each other's actions at once", async (stage) => {
  const server = await stage.server("--pool-size=20");
  const there = await stage.tab(server, await stage.otherProcess());
  await there.load();
  await seeEachOther(await stage.dashboard(server), there, "two browsers");
});

/** @param {Dashboard} here @param {Dashboard} there @param {string} who */
async function seeEachOther(here, there, who) {
  for (const dashboard of [here, there]) await dashboard.page.evaluate(record);
  /** @type {number[]} */
  let middles = [];
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const delays = await measure(here, there);
    console.log(`${who}: ${delays.sort((a, b) => a - b).join(" ")} ms`);
    middles.push(median(delays));
    if (median(delays) < limitMs) return;
  }
  assert.fail(`the other sees an action after a median of ${middles.join(", ")} ms`);
}

/**
 * Allocates here and there in turn, each time releasing from the other side. Each action's time
 * runs from the click to the change in the other page, by the machine's one clock.
 * @param {Dashboard} here
 * @param {Dashboard} there
 */
async function measure(here, there) {
  const delays = [];
  for (let count = 0; count < actions / 2; count += 1) {
    const [actor, watcher] = count % 2 ? [here, there] : [there, here];
    const user = `user-${count}`;
    await actor.allocate(user);
    delays.push(await delay(actor, watcher, "active"));
    const held = (await actor.server.tokens()).find((token) => token.user === user);
    assert.ok(held);
    await actor.shows(held.id, user);
    await watcher.shows(held.id, user);
    await watcher.open(held.id);
    await watcher.reads("#drawer-holder", new RegExp(user));
    await watcher.releaseTheirs();
    delays.push(await delay(watcher, actor, "available"));
    await watcher.shows(held.id, null);
    await watcher.page.keyboard.press("Escape");
    await watcher.drawer(null);
  }
  return delays;
}

/** @param {Dashboard} actor @param {Dashboard} watcher @param {"active" | "available"} state */
async function delay(actor, watcher, state) {
  const actedAt = await actor.page.evaluate(() => /** @type {any} */ (globalThis).actedAt);
  const seenAt = await watcher.until("the other page changed", changedSince, { actedAt, state });
  return seenAt - actedAt;
}

inBrowser("two tabs share one stream, whichever is closed", async (stage) => {
  const server = await stage.server("--pool-size=4");
  const context = await stage.context();
  const first = await stage.tab(server, context);
  await first.load();
  const second = await stage.tab(server, context);
  await second.load();
  const { token_id: id } = await server.allocate("ann");
  await first.shows(id, "ann");
  await second.shows(id, "ann");
  assert.equal(server.taken("/api/events"), 1, "one stream for both");

  await first.page.close();
  const { token_id: other } = await server.allocate("bob");
  await second.shows(other, "bob");
  await second.state("live");
  const third = await stage.tab(server, context);
  await third.load();
  await third.agrees();
  assert.equal(server.taken("/api/events"), 1, "the same stream still");
});

inBrowser(
  "many tabs stay live, although a browser opens six connections to a host",
  async (stage) => {
    const server = await stage.server("--pool-size=4");
    const context = await stage.context();
    const tabs = [];
    for (let count = 0; count < 8; count += 1) {
      const tab = await stage.tab(server, context);
      await tab.load();
      tabs.push(tab);
    }
    const { token_id: id } = await server.allocate("ann");
    for (const tab of tabs) await tab.shows(id, "ann");
    assert.equal(server.taken("/api/events"), 1);
  },
);

// What follows runs in the page.

/** Notes when something was done last, and when cells changed. */
function record() {
  const notes = /** @type {any} */ (globalThis);
  for (const type of ["submit", "click"]) {
    addEventListener(type, () => (notes.actedAt = Date.now()), true);
  }
  notes.changes = [];
  const grid = /** @type {Element} */ (document.querySelector("#grid"));
  new MutationObserver((records) => {
    for (const { target } of records) {
      const { state } = /** @type {HTMLElement} */ (target).dataset;
      notes.changes.push({ state, at: Date.now() });
    }
  }).observe(grid, { subtree: true, attributes: true, attributeFilter: ["data-state"] });
}

/** @param {{ actedAt: number, state: string }} wanted */
function changedSince({ actedAt, state }) {
  /** @type {{ state: string, at: number }[]} */
  const changes = /** @type {any} */ (globalThis).changes;
  return changes.find((change) => change.at >= actedAt && change.state === state)?.at;
}
