// @ts-check
// The reference of the API at /docs: a library's page, under a policy of ours.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";

describe("the reference", () => {
  inBrowser("it shows every operation, tries one out, and asks no other host", async (stage) => {
    const server = await stage.server("--pool-size=2");
    const page = await (await stage.context()).newPage();
    /** @type {string[]} */
    const complaints = [];
    /** @type {string[]} */
    const elsewhere = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(server.url) && !url.startsWith("data:")) elsewhere.push(url);
    });
    await page.goto(`${server.url}/docs`);
    await page.locator("#operations-Tokens-allocateToken").waitFor({ timeout: 20_000 });
    const { paths } = await server.ask("GET", "/openapi.json");
    const operations = Object.values(paths).flatMap((methods) => Object.values(methods));
    assert.equal(await page.locator(".opblock").count(), operations.length);

    const pool = page.locator("#operations-Pool-getPool");
    await pool.locator(".opblock-summary-control").click();
    await pool.getByRole("button", { name: "Try it out" }).click();
    await pool.getByRole("button", { name: "Execute" }).click();
    const answered = pool.locator(".live-responses-table", { hasText: '"when_full": "evict-oldest"' });
    await answered.waitFor({ timeout: 20_000 });

    assert.deepEqual(complaints, []);
    assert.deepEqual(elsewhere, []);
  });
});
