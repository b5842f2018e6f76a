// @ts-check
// The reference of the API at /docs: a library's page, under a policy of ours.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { dangerOf } from "../../crates/dashboard/reference/danger.js";
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

  inBrowser("it asks before a request that ends leases, and has the theme of the dashboard", async (stage) => {
    const server = await stage.server("--pool-size=2");
    await server.allocate("ann");
    const context = await stage.context({ colorScheme: "light", viewport: { width: 375, height: 812 } });
    await context.addInitScript(() => localStorage.setItem("token-manager.theme", "dark"));
    const page = await context.newPage();
    await page.goto(`${server.url}/docs`);
    const clear = page.locator("#operations-Tokens-clearActiveTokens");
    await clear.locator(".opblock-summary-control").click({ timeout: 20_000 });
    assert.equal(await page.evaluate(() => document.documentElement.className), "dark-mode");
    await clear.getByRole("button", { name: "Try it out" }).click();
    const execute = clear.getByRole("button", { name: "Execute" });
    await execute.click();
    await page.locator("#confirm-no").click();
    await page.locator("#confirm").waitFor({ state: "hidden" });
    assert.equal((await server.pool()).active, 1);
    await execute.click();
    await page.locator("#confirm-yes").click();
    await clear.locator(".live-responses-table", { hasText: "All active tokens cleared" }).waitFor();
    assert.equal((await server.pool()).active, 0);
    await page.locator("#back").click();
    await page.waitForURL(`${server.url}/`);
  });
});

test("requests that end leases or delete something are dangerous", () => {
  const danger = (/** @type {string} */ request, more = {}) => {
    const [method, path] = request.split(" ");
    return dangerOf({ method, path, ...more });
  };
  assert.equal(danger("DELETE /api/tokens/clear-active"), "clear");
  assert.equal(danger("POST /api/pools/{pool}/clear"), "clear");
  assert.equal(danger("POST /api/tokens/release/{id}"), "release");
  assert.equal(danger("DELETE /api/pools/{pool}"), "delete");
  assert.equal(danger("DELETE /api/pools/{pool}", { dryRun: true }), null);
  assert.equal(danger("DELETE /api/pools/{pool}/tokens/{token}"), "delete");
  assert.equal(danger("DELETE /api/keys/{key}"), "delete");
  assert.equal(danger("POST /api/keys/{key}/rotate"), "rotate");
  for (const path of ["/api/keys/{key}/sessions", "/api/session"]) {
    assert.equal(danger(`DELETE ${path}`), "sessions", path);
  }
  assert.equal(danger("PUT /api/pools", { body: '{"pools": {"a": {"delete": true}}}' }), "delete");
  assert.equal(danger("PUT /api/pools/{pool}/tokens", { prune: true }), "delete");
  const taints = "POST /api/pools/{pool}/tokens/{token}/taints";
  assert.equal(danger(taints, { body: '{"effect": "end-lease"}' }), "drain");
  assert.equal(danger(taints, { body: '{"effect": "note"}' }), null);
  for (const request of ["GET /api/pools", "POST /api/tokens/allocate", "POST /api/leases/{id}/renew",
    "DELETE /api/pools/{pool}/tokens/{token}/taints/{name}", "PUT /api/pools/{pool}", "POST /api/keys",
    "POST /api/session"]) {
    assert.equal(danger(request), null, request);
  }
});
