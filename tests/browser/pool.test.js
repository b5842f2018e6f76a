// @ts-check
// What people do with a pool, and see happen to it.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";

/** @typedef {{ texts: string[], holders: string[], names: string[], freeAt: number }} Watched */

// The longest come first, so that they don't end last.
describe("a pool", { concurrency: 4 }, () => {
  inBrowser("waiting requests are counted, and a refusal is explained", async (stage) => {
    const waits = await stage.server("--pool-size=1", "--when-full=wait");
    const first = await waits.allocate("ann");
    const dashboard = await stage.dashboard(waits);
    await dashboard.counts({ waiting: 0 });
    const second = waits.allocate("bob");
    await dashboard.counts({ waiting: 1 });
    await waits.release(first.lease_id);
    await second;
    await dashboard.shows(first.token_id, "bob");
    await dashboard.counts({ waiting: 0 });

    const rejects = await stage.server("--pool-size=1", "--when-full=reject");
    const { token_id: id } = await rejects.allocate("ann");
    const refused = await stage.dashboard(rejects);
    refused.expect(/503/);
    await refused.allocate("bob");
    await refused.reads("#allocate-error", /\p{Letter}/u);
    await refused.shows(id, "ann");
    assert.equal(await refused.page.locator("#allocate-user").inputValue(), "bob", "is kept");
  });

  inBrowser(
    "a lease counts down to its deadline, and then the token is available",
    async (stage) => {
      const server = await stage.server("--pool-size=3", "--lease=2500ms");
      const dashboard = await stage.dashboard(server);
      await dashboard.page.evaluate(watchLease);
      await dashboard.allocate("ann");
      await dashboard.feeds("expired", "started");
      await dashboard.counts({ active: 0, available: 3 });
      const [lease] = (await server.ask("GET", "/api/leases?user=ann")).leases;
      const { token } = await server.ask("GET", `/api/tokens/${lease.token_id}`);
      await dashboard.reads("#allocate-result", new RegExp(token.token));
      await dashboard.shows(token.id, null);

      // On a slow machine all of it may be over before a test could have looked.
      const { texts, holders, names, freeAt } = await dashboard.page.evaluate(lookBack);
      assert.deepEqual(holders, ["ann"]);
      assert.ok(
        names.some((name) => name.includes("ann")),
        `${names}`,
      );
      const seconds = texts.map((text) => {
        const [, rest] = /^(\d+)s$/.exec(text) ?? [];
        return Number(rest);
      });
      assert.deepEqual(
        seconds,
        [...seconds].sort((a, b) => b - a),
        "counts down",
      );
      assert.ok(seconds.length >= 2, `one sees the seconds pass: ${texts}`);
      const late = freeAt - Date.parse(lease.expires_at);
      assert.ok(Math.abs(late) < 500, `shown as available ${late} ms after the deadline`);
    },
  );

  inBrowser("an unused pool is shown with every token available", async (stage) => {
    const server = await stage.server("--pool-size=5");
    const dashboard = await stage.dashboard(server);
    await dashboard.counts({ active: 0, available: 5, waiting: 0, size: 5 });
    await dashboard.agrees();
    await dashboard.reads("#policy", /\p{Letter}.*\d/u);
    const chart = await dashboard.page.locator("#chart").getAttribute("aria-label");
    assert.match(chart ?? "", /\d/);
    assert.deepEqual(await dashboard.feed(), []);
    assert.equal(await dashboard.page.locator("#grid [data-next]:not([data-next=''])").count(), 0);
    assert.match(await dashboard.page.title(), /TokenManager/);
  });

  inBrowser("a pool without a token is shown as such", async (stage) => {
    const server = await stage.server("--pool-size=0");
    const dashboard = await stage.dashboard(server);
    await dashboard.counts({ active: 0, available: 0, waiting: 0, size: 0 });
    dashboard.expect(/503/);
    await dashboard.allocate("ann");
    await dashboard.reads("#allocate-error", /\p{Letter}/u);
  });

  inBrowser("the countdown uses the server's clock if the page's is wrong", async (stage) => {
    const server = await stage.server("--pool-size=2", "--lease=1m");
    const context = await stage.context();
    await context.addInitScript(() => {
      const right = Date.now;
      Date.now = () => right() + 3_600_000;
    });
    const held = await server.allocate("ann");
    const dashboard = await stage.tab(server, context);
    await dashboard.load();
    await dashboard.shows(held.token_id, "ann");
    await dashboard.reads("#grid .cell[data-state=active] .cell-left", /^(1m|5\ds)$/);
  });

  inBrowser("a renewed lease counts down from its new deadline", async (stage) => {
    const server = await stage.server("--pool-size=2", "--lease=1m", "--max-lease=1h");
    const { token_id: id, lease_id: lease } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    await dashboard.reads("#grid .cell[data-state=active] .cell-left", /^5[0-8]s$/);
    await server.ask("POST", `/api/leases/${lease}/renew`);
    await dashboard.reads("#grid .cell[data-state=active] .cell-left", /^(1m|59s)$/);
    await dashboard.shows(id, "ann");
    await dashboard.feeds("renewed");
  });

  inBrowser("a full pool evicts the oldest lease, which was marked", async (stage) => {
    const server = await stage.server("--pool-size=2", "--lease=2m");
    const ann = await server.allocate("ann", 120);
    const bob = await server.allocate("bob", 60);
    const dashboard = await stage.dashboard(server);
    await dashboard.shows(ann.token_id, "ann");
    await dashboard.shows(bob.token_id, "bob");
    const marks = async () => ({
      ann: (await dashboard.cell(ann.token_id).getAttribute("data-next")) ?? "",
      bob: (await dashboard.cell(bob.token_id).getAttribute("data-next")) ?? "",
    });
    assert.deepEqual(await marks(), { ann: "evict", bob: "expire" });

    await dashboard.allocate("cid");
    await dashboard.shows(ann.token_id, "cid");
    await dashboard.reads("#allocate-result", /ann/);
    await dashboard.feeds("started", "evicted");
    await dashboard.until(
      "bob's is marked as both",
      (id) => {
        const next = document
          .querySelector(`.cell[data-token-id="${id}"]`)
          ?.getAttribute("data-next");
        return next?.includes("evict") && next.includes("expire");
      },
      bob.token_id,
    );
    assert.equal((await marks()).ann, "");
    await dashboard.counts({ active: 2, available: 0 });
  });

  inBrowser("a token is released from its drawer", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    await dashboard.open(id);
    await dashboard.reads("#drawer-holder", /ann/);
    await dashboard.reads("#drawer-left", /\d/);
    await dashboard.releaseTheirs();
    await dashboard.shows(id, null);
    await dashboard.told("released");
    await dashboard.counts({ active: 0, available: 3 });
    await dashboard.until("there is nothing to release any more", nothingToRelease, null);
    await dashboard.reads("#announcer", /\S/);
    const { history } = await server.ask("GET", `/api/tokens/${id}/history`);
    assert.equal(history[0].end_reason, "released");
  });

  inBrowser("clearing asks first, and says how many lose their token", async (stage) => {
    const server = await stage.server("--pool-size=5");
    for (const user of ["ann", "bob", "cid"]) await server.allocate(user);
    const dashboard = await stage.dashboard(server);
    await dashboard.counts({ active: 3 });
    const { page } = dashboard;
    const clear = page.locator("#clear");
    const closed = () => dashboard.until("the dialog is closed", clearIsOpen, false);

    await clear.click();
    await dashboard.until("the dialog is open", clearIsOpen, true);
    await dashboard.reads("#clear-count", /^3$/);
    assert.equal(await dashboard.focus(), "#clear-cancel");
    await server.allocate("dan");
    await dashboard.reads("#clear-count", /^4$/);
    await page.keyboard.press("Escape");
    await closed();
    assert.equal(await dashboard.focus(), "#clear");

    await clear.click();
    await page.locator("#clear-cancel").click();
    await closed();
    await dashboard.counts({ active: 4 });
    assert.equal((await server.pool()).active, 4, "Escape and cancel do nothing");

    await clear.click();
    await page.locator("#clear-confirm").click();
    await closed();
    await dashboard.counts({ active: 0, available: 5 });
    await dashboard.feeds("cleared", "cleared", "cleared", "cleared", "started");
    assert.equal((await server.pool()).active, 0);
  });

  inBrowser("the feed can be paused, and tells how much came meanwhile", async (stage) => {
    const server = await stage.server("--pool-size=5");
    const dashboard = await stage.dashboard(server);
    const { lease_id: lease } = await server.allocate("ann");
    await dashboard.page.locator('#events > li[data-kind="started"]').waitFor();
    const pause = dashboard.page.locator("#pause");
    assert.equal(await pause.getAttribute("aria-pressed"), "false");
    await pause.click();
    assert.equal(await pause.getAttribute("aria-pressed"), "true");
    await server.release(lease);
    await server.allocate("bob");
    await server.allocate("cid");
    await dashboard.reads("#paused-count", /\b3\b/);
    assert.equal((await dashboard.feed()).length, 1, "stands still");
    await dashboard.counts({ active: 2 });
    await pause.click();
    await dashboard.feeds("started", "started", "released", "started");
  });
});

// What follows runs in the page.

/** Notes what a held cell shows and is called, and when it became available. */
function watchLease() {
  /** @type {Watched} */
  const watched = { texts: [], holders: [], names: [], freeAt: 0 };
  /** @type {any} */ (globalThis).watched = watched;
  const grid = /** @type {Element} */ (document.querySelector("#grid"));
  /** @param {string[]} list @param {string | null | undefined} text */
  const note = (list, text) =>
    text?.trim() && list.at(-1) !== text.trim() && list.push(text.trim());
  new MutationObserver(() => {
    const held = grid.querySelector('.cell[data-state="active"]');
    if (!held && watched.texts.length > 0) watched.freeAt ||= Date.now();
    if (!held) return;
    note(watched.texts, held.querySelector(".cell-left")?.textContent);
    note(watched.holders, held.querySelector(".cell-holder")?.textContent);
    const parts = [...held.children].filter((part) => part.ariaHidden !== "true");
    note(watched.names, held.ariaLabel ?? parts.map((part) => part.textContent).join(" "));
  }).observe(grid, { subtree: true, childList: true, characterData: true, attributes: true });
}

/** @returns {Watched} */
function lookBack() {
  return /** @type {any} */ (globalThis).watched;
}

function nothingToRelease() {
  const release = /** @type {HTMLButtonElement | null} */ (
    document.querySelector("#drawer-release")
  );
  return !release || release.disabled || release.offsetParent === null;
}

/** @param {boolean} wanted */
function clearIsOpen(wanted) {
  const dialog = /** @type {HTMLDialogElement} */ (document.querySelector("#clear-dialog"));
  return dialog.open === wanted;
}
