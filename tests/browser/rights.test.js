// @ts-check
// Each page offers only what the key permits.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { signedIn, withKeys } from "./harness/keys.js";
import { inBrowser } from "./harness/stage.js";

/** @typedef {import("./harness/dashboard.js").Dashboard} Dashboard */

/** What a page offers, by the first right that includes it. */
const offers = {
  use: ["#allocate-panel", "#drawer-release", "#drawer-renew"],
  operate: ["#clear", "[data-act=cordon]", "[data-act=drain]"],
  admin: ["#pool-acts button", "[data-act=edit]", "[data-act=retire]", "#foot-keys"],
};
const rights = /** @type {const} */ (["read", "use", "operate", "admin"]);

/** The first token's acts in the menu of its row. @param {Dashboard} dashboard */
async function menuOf({ page }) {
  await page.locator("#view-table").click();
  await page.locator(".table-menu").first().click();
  const acts = await page.locator("#menu button").evaluateAll((buttons) =>
    buttons.map((button) => /** @type {HTMLElement} */ (button).dataset.act));
  await page.keyboard.press("Escape");
  await page.locator("#view-cells").click();
  return acts;
}

describe("rights", { concurrency: 3 }, () => {
  for (const right of rights) {
    inBrowser(`the page of a pool offers what ${right} permits`, async (stage) => {
      const { server } = await withKeys(stage, "--max-lease=1h", "--membership=open");
      const { token_id: id } = await server.allocate("ann");
      const key = right === "admin" ? server.key ?? "" : await server.createKey("one", right);
      const dashboard = await signedIn(stage, server, key);
      const { page } = dashboard;
      assert.deepEqual(await menuOf(dashboard), ["open",
        ...(right === "admin" ? ["edit"] : []),
        ...(right === "admin" || right === "operate" ? ["cordon", "drain"] : []),
        ...(right === "admin" ? ["retire"] : [])]);
      const onPage = Object.values(offers).flat().filter((part) => !/drawer|act=/.test(part));
      const inDrawer = Object.values(offers).flat().filter((part) => /drawer|act=/.test(part));
      const isOffered = (/** @type {string} */ part) => Object.entries(offers).some(([least, parts]) =>
        parts.includes(part) && rights.indexOf(/** @type {any} */ (least)) <= rights.indexOf(right));
      for (const part of onPage) {
        assert.equal(await page.locator(part).first().isVisible(), isOffered(part), part);
      }
      await dashboard.open(id);
      await dashboard.reads("#drawer-holder", /ann/);
      for (const part of inDrawer) {
        assert.equal(await page.locator(`#drawer ${part}`).isVisible(), isOffered(part), part);
      }
      const value = await dashboard.text("#drawer-value");
      const { value: real } = await server.ask("GET", `/api/pools/default/tokens/${id}`);
      assert.equal(value === real, right !== "read", `${value} is read`);
      await page.keyboard.press("Escape");
      await page.locator("#account").click();
      await dashboard.reads("#menu [data-act=about]", new RegExp(`^Rights: ${right}`));
    });
  }

  inBrowser("the page of all pools offers new pools to administrators, and only the key's pools", async (stage) => {
    const { server, admin } = await withKeys(stage);
    for (const pool of ["staging-1", "staging-2", "other"]) await server.put(pool, { tokens: [{ name: "a" }] });
    const operator = await server.createKey("ops-2", "operate", { pools: ["staging-*"] });
    for (const [key, pools, mayCreate] of /** @type {const} */ ([
      [admin, ["default", "other", "staging-1", "staging-2"], true], [operator, ["staging-1", "staging-2"], false],
    ])) {
      const dashboard = await stage.tab(server);
      await dashboard.loadSignedOut();
      await dashboard.page.locator("#sign-in-key").fill(key);
      await dashboard.page.locator("#sign-in-submit").click();
      await dashboard.page.locator("#account[data-via=session]").waitFor();
      await dashboard.state("live");
      const listed = dashboard.page.locator("#pools-body .pool");
      await listed.nth(pools.length - 1).waitFor();
      assert.deepEqual(await listed.evaluateAll((rows) =>
        rows.map((row) => /** @type {HTMLElement} */ (row).dataset.pool)), pools);
      assert.equal(await dashboard.page.locator("#new-pool").isVisible(), mayCreate);
      assert.equal(await dashboard.page.locator("#foot-metrics").isVisible(), mayCreate);
      dashboard.expect(/404/);
      if (mayCreate) continue;
      await dashboard.page.goto(`${server.url}/pools/other`);
      await dashboard.reads("#unknown-title", /other/);
    }
  });

  inBrowser("a key of one user has its name filled in, and releases only its leases", async (stage) => {
    const { server } = await withKeys(stage, "--max-lease=1h");
    const { token_id: theirs } = await server.allocate("bob");
    const dashboard = await signedIn(stage, server, await server.createKey("ann", "use", { users: ["ann"] }));
    const { page } = dashboard;
    const field = page.locator("#allocate-user");
    assert.equal(await field.inputValue(), "ann");
    assert.equal(await field.getAttribute("readonly"), "");
    await page.locator("#allocate-submit").click();
    await dashboard.counts({ active: 2 });
    await page.locator("#mine [data-act=release]").click();
    await dashboard.counts({ active: 1 });
    await dashboard.open(theirs);
    await dashboard.reads("#drawer-holder", /bob/);
    assert.equal(await page.locator("#drawer-release").isVisible(), false);
    assert.equal(await page.locator("#drawer-renew").isVisible(), false);
  });

  inBrowser("a user that the key does not name is refused before the request", async (stage) => {
    const { server } = await withKeys(stage);
    const key = await server.createKey("ci", "use", { users: ["ci-*", "ann"] });
    const dashboard = await signedIn(stage, server, key);
    const { page } = dashboard;
    await dashboard.reads("#allocate-user-of", /ci-\*, ann/);
    await page.locator("#allocate-user").fill("bob");
    await page.locator("#allocate-user").blur();
    await dashboard.reads("#allocate-error", /does not allocate for this user/);
    await page.locator("#allocate-submit").click();
    assert.equal(await page.locator("#allocate-user").getAttribute("aria-invalid"), "true");
    assert.equal((await server.pool()).active, 0);
    await dashboard.allocate("ci-7");
    await dashboard.counts({ active: 1 });
    await dashboard.reads("#allocate-error", /^$/);
  });

  inBrowser("what the server forbids is shown as it says", async (stage) => {
    const { server, admin } = await withKeys(stage);
    await server.createKey("second", "admin");
    const dashboard = await signedIn(stage, server, admin);
    dashboard.expect(/403/);
    await dashboard.page.route("**/api/pools/default/allocate", (route) => route.fulfill({ status: 403,
      json: { code: "forbidden", title: "Not permitted", detail: "The API key needs the right `use`." } }));
    await dashboard.allocate("ann");
    await dashboard.reads("#allocate-error", /The API key needs the right `use`\./);
  });
});
