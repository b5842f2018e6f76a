// @ts-check
// The tokens as a table: filters and their address, order, acts of a row, and ten thousand rows.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

describe("the table", { concurrency: 2 }, () => {
  inBrowser("its address has the filter, a row opens the drawer, and both come back", async (stage) => {
    const server = await stage.server("--pool-size=1");
    const tokens = ["eu", "us", "eu", "eu"].map((region, i) => ({ name: `t-${i + 1}`, labels: { region } }));
    await server.put("staging", { lease: "30m", tokens });
    for (const [user, token, note] of [["ann", "t-1", "PR 1"], ["bob", "t-2"], ["ann", "t-3"]]) {
      await server.allocateFrom("staging", { user, token, note });
    }
    const hash = "#table?holder=ann&label=region%3Deu";
    const dashboard = await stage.dashboard(server, { pool: "staging", hash, me: "ann" });
    const { page } = dashboard;
    const rows = page.locator(".table-row");
    const names = async () => (await rows.locator(".col-token").allTextContents()).join(" ");
    const shows = (/** @type {string} */ wanted) =>
      until(`rows ${wanted}`, async () => (await names()) === wanted);
    await shows("t-1 t-3");
    assert.equal(await page.locator("#grid").isVisible(), false);
    assert.match(await rows.first().innerText(), /t-1[^]*ann[^]*PR 1[^]*\dm[^]*region=eu/);
    await page.locator(".col-token button").click();
    await shows("t-3 t-1");
    assert.match(page.url(), /sort=-token/);

    await rows.first().focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    const [first] = await server.tokens("staging");
    await dashboard.drawer(first.id);
    await page.keyboard.press("Escape");
    await dashboard.drawer(null);
    await shows("t-3 t-1");
    assert.match(page.url(), /#table\?holder=ann/);

    await page.locator("#table-reset").click();
    await shows("t-4 t-3 t-2 t-1");
    await page.locator("#table-show").selectOption("mine");
    await shows("t-3 t-1");
    await page.locator("#table-show").selectOption("free");
    await shows("t-4");
    await rows.first().locator(".table-menu").click();
    await page.locator("#menu [data-act=cordon]").click();
    await page.locator("#taint-submit").click();
    await shows("");
    await page.locator("#table-none").waitFor();
    await page.locator("#table-show").selectOption("tainted");
    await shows("t-4");
    await rows.first().locator("[data-label]").click();
    assert.equal(await page.locator("#table-label").inputValue(), "region=eu");

    await page.locator("#view-table").click();
    await page.goto(`${server.url}/pools/staging`);
    await dashboard.live();
    await shows("t-1 t-2 t-3 t-4");
    await page.locator("#view-cells").click();
    await page.locator("#grid .cell").first().waitFor();
    assert.equal(await page.locator("#table").isVisible(), false);
  });

  inBrowser("ten thousand rows scroll and filter smoothly, also on a phone", async (stage) => {
    const server = await stage.server("--pool-size=10000", "--lease=1h");
    await Promise.all(Array.from({ length: 40 }, (_, i) => server.allocate(`user ${i}`)));
    const dashboard = await stage.tab(server);
    const { page } = dashboard;
    await page.goto(`${server.url}/#table`);
    await dashboard.state("live");
    const last = page.locator('.table-row[aria-rowindex="10001"]');
    await page.locator(".table-row").first().waitFor();
    await page.evaluate(() => {
      const tasks = (/** @type {any} */ (window).tasks = /** @type {number[]} */ ([]));
      new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)))
        .observe({ type: "longtask" });
    });
    await page.locator(".table-row").first().focus();
    await page.keyboard.press("End");
    await last.waitFor();
    assert.match(await dashboard.focus(), /table-row/);
    assert.ok((await page.locator(".table-row").count()) < 80, "only the visible rows exist");
    for (let i = 0; i < 40; i += 1) await page.mouse.wheel(0, -3000);
    await page.locator("#table-sort").evaluate((sort) => {
      /** @type {HTMLSelectElement} */ (sort).value = "left";
      sort.dispatchEvent(new Event("change"));
    });
    await page.locator("#table-text").fill("user 3");
    await dashboard.reads("#table-count", /^11 of 10,000$/);
    await page.locator("#table-text").fill("");
    await dashboard.reads("#table-count", /^10,000 of 10,000$/);
    await server.allocate("one more");
    await dashboard.reads(".table-row", /user \d/);
    const tasks = await page.evaluate(() => /** @type {number[]} */ (/** @type {any} */ (window).tasks));
    assert.ok(Math.max(0, ...tasks) < 400, `long tasks: ${tasks.map(Math.round)}`);

    await page.setViewportSize({ width: 375, height: 812 });
    assert.equal(await dashboard.overflow(), null);
    await page.locator("#table-sort").waitFor();
  });
});
