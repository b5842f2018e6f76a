// @ts-check
// The page of a pool that is not the only one: names, labels, taints, values, and other pools beside it.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

const backMs = 30_000;

const staging = {
  description: "Staging environments",
  when_full: "wait",
  lease: "30m",
  max_lease: "8h",
  tokens: [
    { name: "staging-1", value: "https://1.example", labels: { region: "eu", size: "large", tier: "a" } },
    { name: "staging-2", value: "https://2.example", labels: { region: "us" } },
    { name: "staging-3", value: "https://3.example" },
  ],
};

/** @param {import("./harness/stage.js").Stage} stage */
async function withPools(stage) {
  const server = await stage.server("--pool-size=4");
  await server.put("staging", staging);
  return server;
}

describe("a pool among others", { concurrency: 3 }, () => {
  inBrowser("it shows its own tokens by name, and nothing of other pools", async (stage) => {
    const server = await withPools(stage);
    const dashboard = await stage.dashboard(server, { pool: "staging" });
    await dashboard.reads("#pool-name", /^staging$/);
    await dashboard.reads("#pool-description", /^Staging environments$/);
    await dashboard.page.locator("#bar-pools a").waitFor();
    await server.allocate("elsewhere");
    const { token_id: id } = await server.allocateFrom("staging", { user: "ann", token: "staging-2",
      note: "PR 1234" });
    await dashboard.shows(id, "ann");
    await dashboard.counts({ active: 1, available: 2, size: 3 });
    await dashboard.feeds("started");
    assert.equal((await dashboard.feed()).length, 1);
    await dashboard.reads("#events > li", /staging-2/);
    assert.match(await dashboard.name(id), /staging-2.*ann/);
    const chips = dashboard.page.locator("#grid .cell").first().locator(".chip");
    assert.deepEqual(await chips.allTextContents(), ["eu", "large", "+1"]);

    await dashboard.page.locator("#events a").first().click();
    await dashboard.drawer(id);
    assert.match(dashboard.page.url(), /\/pools\/staging#token=staging-2$/);
    await dashboard.reads("#drawer-title", /staging-2/);
    await dashboard.reads("#drawer-note", /^PR 1234$/);
    await dashboard.reads("#drawer-labels", /region: us/);
    assert.doesNotMatch(await dashboard.text("#drawer"), /example/, "only the holder gets the value");
    assert.equal(await dashboard.page.locator("#drawer-copy").isVisible(), false);
    await dashboard.page.locator("#timeline > li[data-lease-id]").waitFor();

    await dashboard.page.locator("#drawer-release").click();
    await dashboard.page.locator("#release-confirm").click();
    await dashboard.shows(id, null);
    assert.equal((await server.pool()).active, 1, "of the other pool");
  });

  inBrowser("a certain token is allocated or waited for, with a note", async (stage) => {
    const server = await withPools(stage);
    const dashboard = await stage.dashboard(server, { pool: "staging", hash: "#token=staging-3" });
    const { page } = dashboard;
    const third = (await server.tokens("staging"))[2].id;
    await dashboard.drawer(third);
    await page.keyboard.press("Escape");
    await page.locator("#allocate-token").fill("staging-3");
    await page.locator("#allocate-note").fill("load test");
    await dashboard.allocate("me");
    await dashboard.reads("#allocate-result", /staging-3/);
    await dashboard.reads("#allocate-result code", /^https:\/\/3\.example$/);
    assert.equal((await server.tokens("staging"))[2].lease.note, "load test");
    await page.reload();
    await dashboard.live();
    assert.equal(await page.getByText("https://3.example").count(), 0, "the value is shown once");

    await page.locator("#allocate-token").fill("staging-3");
    await page.locator("#allocate-note").fill("next");
    await dashboard.allocate("bob");
    await dashboard.reads("#queue-list li", /bob[^]*staging-3 · next/, backMs);
    await server.ask("POST", "/api/pools/staging/clear");
    await dashboard.shows(third, "bob");
    dashboard.expect(/404/);
    await page.locator("#allocate-token").fill("no-such-token");
    await dashboard.allocate("bob");
    await dashboard.reads("#allocate-error", /\p{Letter}/u);
  });

  inBrowser("tokens are added, tainted and retired while the page is open", async (stage) => {
    const server = await withPools(stage);
    const { token_id: held } = await server.allocateFrom("staging", { user: "ann", token: "staging-2" });
    const dashboard = await stage.dashboard(server, { pool: "staging" });
    const [{ id: first }] = await server.tokens("staging");
    const taint = { name: "cordon", effect: "no-new-leases", reason: "disk full", by: "ops" };
    await server.ask("POST", "/api/pools/staging/tokens/staging-1/taints", taint);
    await dashboard.page.locator(`.cell[data-token-id="${first}"][data-state=tainted]`).waitFor();
    assert.match(await dashboard.name(first), /disk full/);
    await dashboard.counts({ active: 1, available: 1 });
    await dashboard.reads("#count-tainted", /^1$/);
    await dashboard.open(first);
    await dashboard.reads("#drawer-taints", /disk full[^]*ops/);
    await dashboard.page.keyboard.press("Escape");

    await server.ask("DELETE", "/api/pools/staging/tokens/staging-2");
    await dashboard.page.locator(`.cell[data-token-id="${held}"][data-off=retiring]`).waitFor();
    await server.put("staging", { description: "Two", tokens: [{ name: "staging-4" }] });
    await dashboard.counts({ size: 4 });
    await dashboard.reads("#pool-description", /^Two$/);
    await server.ask("POST", "/api/pools/staging/clear");
    await dashboard.counts({ size: 3, active: 0 });
    await dashboard.agrees();
  });

  inBrowser("an empty pool says how to add tokens, and an unknown one that it is", async (stage) => {
    const server = await withPools(stage);
    await server.put("empty", {});
    const dashboard = await stage.dashboard(server, { pool: "empty" });
    await dashboard.page.locator('#empty[data-why="no-tokens"]').waitFor();
    await dashboard.reads("#empty-curl", /^token-manager apply/);
    dashboard.expect(/404/);
    await server.ask("DELETE", "/api/pools/empty");
    await dashboard.page.locator("#unknown").waitFor();
    await dashboard.reads("#unknown-title", /empty/);
    assert.equal(await dashboard.page.locator("#main").isVisible(), false);
    await dashboard.page.locator("#unknown a").click();
    await until("all pools", async () => dashboard.page.url() === `${server.url}/`);
  });
});
