// @ts-check
// The user's own leases, on the page of a pool and on that of all pools.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";

/** @typedef {import("./harness/dashboard.js").Dashboard} Dashboard */
/** @typedef {import("./harness/server.js").Server} Server */
/** @typedef {import("./harness/stage.js").Stage} Stage */

const pools = {
  staging: { lease: "1m", max_lease: "1h", tokens: [{ name: "staging-1" }, { name: "staging-2" }] },
  ports: { lease: "10m", tokens_range: "8080-8082" },
};

/** @param {Stage} stage @param {Server} server @param {string} path @param {string} [me] */
async function open(stage, server, path, me = "ann") {
  const context = await stage.context();
  if (me) await context.addInitScript((name) => localStorage.setItem("token-manager.user", name), me);
  const dashboard = await stage.tab(server, context);
  await dashboard.page.goto(server.url + path);
  await dashboard.state("live");
  return dashboard;
}

/** Waits for the tokens in the panel, by name. @param {Dashboard} dashboard @param {string} names */
async function shows(dashboard, names) {
  await dashboard.until(`the panel shows ${names}`, panelIs, names);
}

/** @param {Server} server @param {string} pool @param {any} body */
const allocate = (server, pool, body) =>
  server.ask("POST", `/api/pools/${pool}/allocate`, { user: "ann", ...body });

describe("own leases", { concurrency: 3 }, () => {
  inBrowser("the page of all pools shows them, and acts on them", async (stage) => {
    const server = await stage.server("--pool-size=2");
    await server.ask("PUT", "/api/pools", { pools });
    const first = await allocate(server, "staging", { token: "staging-2", note: "PR 1234" });
    const dashboard = await open(stage, server, "/");
    const { page } = dashboard;
    await shows(dashboard, "staging-2");
    await dashboard.reads("#mine .mine-note", /^PR 1234$/);
    await dashboard.reads("#mine .mine-pool", /^staging$/);
    await dashboard.reads("#mine .mine-left", /\b\d\ds\b/);
    const port = await allocate(server, "ports", { token: "8081" });
    await allocate(server, "ports", { user: "bob" });
    await shows(dashboard, "staging-2 8081");
    const renews = page.locator('#mine [data-act="renew"]:visible');
    assert.equal(await renews.count(), 1, "the leases of ports can't be renewed");

    const before = await server.ask("GET", `/api/leases/${first.lease_id}`);
    await renews.click();
    await dashboard.reads("#announcer", /\S/);
    const after = await server.ask("GET", `/api/leases/${first.lease_id}`);
    assert.ok(Date.parse(after.expires_at) > Date.parse(before.expires_at));

    const release = page.locator(`#mine [data-lease-id="${first.lease_id}"] [data-act="release"]`);
    await release.focus();
    await page.keyboard.press("Enter");
    await shows(dashboard, "8081");
    assert.equal((await server.ask("GET", `/api/leases/${first.lease_id}`)).status, "ended");
    assert.notEqual(await dashboard.focus(), "nothing", "the focus is not lost");
    await server.release(port.lease_id);
    await page.locator("#mine").waitFor({ state: "hidden" });
  });

  inBrowser("the page of a pool shows those of all pools", async (stage) => {
    const server = await stage.server("--pool-size=2");
    await server.ask("PUT", "/api/pools", { pools });
    await allocate(server, "ports", { token: "8080" });
    const dashboard = await open(stage, server, "/pools/staging");
    const { page } = dashboard;
    await shows(dashboard, "8080");
    const held = await allocate(server, "staging", { token: "staging-1" });
    await shows(dashboard, "staging-1 8080");
    await page.locator(`#mine [data-lease-id="${held.lease_id}"] a`).first().click();
    await dashboard.drawer(held.token_id);
    await page.locator("#drawer-close").click();
    await dashboard.drawer(null);
    await server.release(held.lease_id);
    await shows(dashboard, "8080");
    await page.locator("#mine .mine-token").click();
    await page.waitForURL(/\/pools\/ports#token=/);
    await dashboard.state("live");
    await page.locator("#drawer[open]").waitFor();
  });

  inBrowser("they appear with the first allocation, and a failure is told in place", async (stage) => {
    const server = await stage.server("--pool-size=2");
    const dashboard = await open(stage, server, "/", "");
    const { page } = dashboard;
    await server.allocate("ann");
    await dashboard.counts({ active: 1 });
    assert.ok(!(await page.locator("#mine").isVisible()), "hidden without a remembered user");
    await dashboard.allocate("ann");
    await dashboard.until("both leases are shown", rowsAre, 2);
    dashboard.expect(/409/);
    await page.route("**/release", (route) => route.fulfill({ status: 409, json: {
      code: "lease-over", title: "Lease over", detail: "The lease has ended." } }));
    await page.locator('#mine [data-act="release"]').first().click();
    await dashboard.reads("#mine .error", /\S/);
  });
});

// The functions below run in the page.

/** @param {string} names */
function panelIs(names) {
  const rows = [...document.querySelectorAll("#mine:not([hidden]) .mine-token")];
  return rows.map((row) => row.textContent?.replace(/^.* (?=\d+$)/, "")).join(" ") === names;
}

/** @param {number} count */
function rowsAre(count) {
  return document.querySelectorAll("#mine:not([hidden]) .mine-lease").length === count;
}
