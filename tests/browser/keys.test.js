// @ts-check
// API keys and the audit log, as administrators see them.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { violates } from "./harness/axe.js";
import { signedIn, withKeys } from "./harness/keys.js";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

/** @typedef {import("./harness/dashboard.js").Dashboard} Dashboard */

const widths = [320, 360, 768, 1280];

/** @param {Dashboard} dashboard @param {string} name */
const row = ({ page }, name) => page.locator("#keys-list li", { has: page.locator(`h3 bdi:text-is("${name}")`) });

/** @param {Dashboard} dashboard @param {string} name @param {string} fact */
const fact = (dashboard, name, fact) => row(dashboard, name).locator(`[data-fact=${fact}]`).innerText();

/** Reads the secret that is shown once, and closes its dialog. @param {Dashboard} dashboard */
async function secretOf(dashboard) {
  const { page } = dashboard;
  await page.locator("#secret-dialog").waitFor();
  await page.keyboard.press("Escape");
  const secret = await dashboard.text("#secret-text");
  assert.match(secret, /^tm_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9a-f]{8}$/);
  await page.locator("#secret-done").click();
  await page.locator("#secret-dialog").waitFor({ state: "hidden" });
  assert.equal(await page.locator("#secret-text").textContent(), "");
  return secret;
}

describe("keys", { concurrency: 3 }, () => {
  inBrowser("a key is created, used, rotated and revoked", async (stage) => {
    const { server, admin } = await withKeys(stage);
    const dashboard = await signedIn(stage, server, admin);
    const { page } = dashboard;
    await dashboard.account("keys");
    assert.match(page.url(), /#keys$/);
    await row(dashboard, "ops").waitFor();
    await row(dashboard, "ops").locator(".you").waitFor();
    assert.equal(await fact(dashboard, "ops", "keySessions"), "1");

    await page.locator("#keys-new").click();
    assert.equal(await dashboard.focus(), "#key-name");
    await page.locator("#key-submit").click();
    await dashboard.reads("#key-error", /Enter a name/);
    await page.locator("#key-name").fill("ops");
    await page.locator("#key-submit").click();
    await dashboard.reads("#key-error", /at least one pool/);
    await page.locator("#key-pools").fill("default, ci-*");
    await page.locator("#key-users").fill("ci-*");
    await page.locator("#key-expires").fill("90");
    await page.locator("#key-submit").click();
    await dashboard.reads("#key-error", /with its unit/);
    await page.locator("#key-expires").fill("90d");
    await dashboard.reads("#key-expires-time", /\d/);
    await page.locator("#key-leases").fill("2");
    dashboard.expect(/409/);
    await page.locator("#key-submit").click();
    await dashboard.reads("#key-error", /Another key has the name “ops”/);
    await page.locator("#key-name").fill("ci");
    await page.locator("#key-submit").click();
    const first = await secretOf(dashboard);
    await row(dashboard, "ci").waitFor();
    const { keys: [ci] } = await server.ask("GET", "/api/keys");
    assert.deepEqual([ci.name, ci.rights, ci.pools, ci.users, ci.max_leases],
      ["ci", "use", ["default", "ci-*"], ["ci-*"], 2]);
    assert.ok(Math.abs(Date.parse(ci.expires_at) - Date.now() - 90 * 86_400_000) < 60_000);
    assert.equal(await fact(dashboard, "ci", "keyPools"), "default, ci-*");
    assert.equal(await fact(dashboard, "ci", "keyRunning"), "0 of 2");
    assert.ok(!(await page.content()).includes(first.split("_")[2]), "the secret is gone");

    const works = async (/** @type {string} */ key) =>
      (await server.request("GET", "/api/pool", { headers: { authorization: `Bearer ${key}` } })).status;
    assert.equal(await works(first), 200);
    await row(dashboard, "ci").locator("[data-act=rotate]").click();
    await dashboard.reads("#rotate-until", /at once/);
    await page.locator("#rotate-keep").fill("1h");
    await page.locator("#rotate-submit").click();
    const second = await secretOf(dashboard);
    assert.deepEqual([await works(first), await works(second)], [200, 200]);
    await row(dashboard, "ci").locator("[data-fact=keyOldSecret]").waitFor();
    await row(dashboard, "ci").locator("[data-act=rotate]").click();
    await page.locator("#rotate-submit").click();
    const third = await secretOf(dashboard);
    assert.deepEqual([await works(first), await works(second), await works(third)], [401, 401, 200]);

    const ask = { headers: { authorization: `Bearer ${third}` }, body: { user: "ci-1" } };
    await server.request("POST", "/api/pools/default/allocate", ask);
    await page.reload();
    await row(dashboard, "ci").locator("[data-act=revoke]").click();
    assert.equal(await dashboard.focus(), "#revoke-cancel");
    await dashboard.reads("#revoke-effects", /1 running lease continues/);
    await page.locator("#revoke-submit").click();
    await row(dashboard, "ci").waitFor({ state: "detached" });
    assert.equal(await works(third), 401);
    await page.keyboard.press("Escape");
    await page.locator("#access").waitFor({ state: "hidden" });
    assert.doesNotMatch(page.url(), /#keys/);
    await dashboard.counts({ active: 1 });
  });

  inBrowser("browsers of a key are signed out, and one's own key can be revoked", async (stage) => {
    const { server, admin } = await withKeys(stage);
    const other = await signedIn(stage, server, await server.createKey("ann", "use"));
    const dashboard = await signedIn(stage, server, await server.createKey("ops-2", "admin"));
    for (const one of [other, dashboard]) one.expect(/401/, /ERR_/);
    const { page } = dashboard;
    await page.evaluate(() => (location.hash = "keys"));
    await row(dashboard, "ann").locator("[data-act=sign-out]").click();
    await dashboard.reads("#notice", /1 browser was signed out of ann/);
    await other.asksForKey();
    await row(dashboard, "ann").locator("[data-act=sign-out]").waitFor({ state: "detached" });
    await row(dashboard, "ops-2").locator("[data-act=revoke]").click();
    await page.locator("#revoke-own").waitFor();
    await page.locator("#revoke-submit").click();
    await dashboard.asksForKey();
    await dashboard.signIn(admin);
  });

  inBrowser("the first key is an administrator's, and signs in the browser that made it", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const other = await stage.dashboard(server);
    const dashboard = await stage.dashboard(server);
    for (const one of [other, dashboard]) one.expect(/401/, /ERR_/);
    const { page } = dashboard;
    await page.locator("#foot-keys").click();
    await dashboard.reads("#keys-text", /no keys yet/);
    await page.locator("#keys-new").click();
    await page.locator("#key-first").waitFor();
    for (const id of ["key-pools", "key-users", "key-expires", "key-rights-admin"]) {
      assert.equal(await page.locator(`#${id}`).isDisabled(), true, id);
    }
    await page.locator("#key-name").fill("ops");
    await page.locator("#key-submit").click();
    await page.locator("#secret-signed-in").waitFor();
    await other.asksForKey();
    await other.reads("#sign-in-why", /now needs an API key/);
    const secret = await secretOf(dashboard);
    server.key = secret;
    await page.locator("#account[data-via=session]").waitFor();
    await row(dashboard, "ops").waitFor();
    await other.signIn(secret);
  });

  inBrowser("only administrators get the dialog", async (stage) => {
    const { server } = await withKeys(stage);
    const dashboard = await signedIn(stage, server, await server.createKey("ann", "operate"));
    await dashboard.page.evaluate(() => (location.hash = "keys"));
    await dashboard.counts({ active: 0 });
    assert.equal(await dashboard.page.locator("#access").isVisible(), false);
    assert.equal(server.taken("/api/keys"), 2, "those of the test");
  });

  inBrowser("the audit log is filtered, and read on on demand", async (stage) => {
    const { server, admin } = await withKeys(stage);
    const operator = await server.createKey("night", "operate");
    const asOperator = { headers: { authorization: `Bearer ${operator}` } };
    const [{ id }] = await server.tokens();
    for (let count = 0; count < 30; count += 1) {
      const body = { name: "cordon", effect: "no-new-leases" };
      await server.request("POST", `/api/pools/default/tokens/${id}/taints`, { ...asOperator, body });
      await server.request("DELETE", `/api/pools/default/tokens/${id}/taints/cordon`, asOperator);
    }
    await server.allocate("ann");
    await server.ask("POST", "/api/pools/default/clear");
    const dashboard = await signedIn(stage, server, admin);
    const { page } = dashboard;
    await page.goto(`${server.url}/#audit`);
    await page.reload();
    const entries = page.locator("#audit-list > li");
    await entries.nth(49).waitFor();
    assert.equal(await entries.count(), 50);
    await dashboard.reads("#audit-list > li", /Browser signed in[^]*ops/);
    await page.locator("#audit-more").click();
    await dashboard.reads("#audit-note", /No earlier entries/);
    assert.equal(await entries.last().getAttribute("data-action"), "key.created");
    await page.locator("#audit-action").selectOption("pool.cleared");
    await until("one entry", async () => await entries.count() === 1);
    await dashboard.reads("#audit-list > li", /default/);
    await page.locator("#audit-action").selectOption("");
    await page.locator("#audit-key").fill("night");
    await until("those of one key", async () => {
      const who = await page.locator(".audit-who").allTextContents();
      return who.length === 50 && who.every((name) => name === "night");
    });
    await page.locator("#access-keys").click();
    await row(dashboard, "night").waitFor();
    assert.match(page.url(), /#keys$/);
  });

  inBrowser("keys are searched by name and id", async (stage) => {
    const { server, admin } = await withKeys(stage);
    for (const name of ["ci-linux", "CI-mac", "ann"]) await server.createKey(name, "use");
    const { keys } = await server.ask("GET", "/api/keys");
    const { id } = keys.find((/** @type {{ name: string }} */ { name }) => name === "ann");
    const dashboard = await signedIn(stage, server, admin);
    const { page } = dashboard;
    await page.evaluate(() => (location.hash = "keys"));
    const search = page.locator("#keys-search");
    const finds = (/** @type {string} */ text, /** @type {string[]} */ names) => until(text, async () => {
      await search.fill(text);
      const found = await page.locator("#keys-list h3").allTextContents();
      return JSON.stringify(found) === JSON.stringify(names);
    });
    await finds("ci-", ["CI-mac", "ci-linux"]);
    await dashboard.reads("#keys-text", /^2 keys$/);
    await finds(id.slice(0, 8), ["ann"]);
    await finds("+ nothing", []);
    await dashboard.reads("#keys-text", /No key has this/);
    await finds("", ["CI-mac", "ann", "ci-linux", "ops"]);
  });

  inBrowser("refused requests are listed", async (stage) => {
    const { server, admin } = await withKeys(stage);
    const reader = await server.createKey("reader", "read");
    const send = (/** @type {string} */ path, /** @type {string} */ key) =>
      server.request("POST", path, { headers: { authorization: `Bearer ${key}` }, body: { user: "ann" } });
    await send("/api/pools/default/allocate", "tm_wrong");
    await send("/api/pools/default/allocate", reader);
    const dashboard = await signedIn(stage, server, admin);
    const { page } = dashboard;
    await page.evaluate(() => (location.hash = "audit"));
    await page.locator("#access-refusals").click();
    assert.match(page.url(), /#refusals$/);
    const refusals = page.locator("#refusals-list > li");
    await dashboard.reads("#refusals-list > li[data-code=forbidden]",
      /POST \/api\/pools\/\{pool\}\/allocate[^]*127\.0\.0\.1[^]*key reader/);
    await dashboard.reads("#refusals-list > li[data-code=unauthenticated]", /without a key/);
    const known = await refusals.count();
    await send("/api/pools/default/allocate", reader);
    await page.locator("#refusals-again").click();
    await until("the new refusal", async () => await refusals.count() === known + 1);
  });

  inBrowser("the history names the keys of leases", async (stage) => {
    const { server, admin } = await withKeys(stage, "--pool-size=1");
    const ci = await server.createKey("ci", "use");
    const asCi = { headers: { authorization: `Bearer ${ci}` } };
    const allocate = () =>
      server.request("POST", "/api/pools/default/allocate", { ...asCi, body: { user: "ann" } });
    const { lease_id: first } = JSON.parse((await allocate()).body.toString());
    await server.request("POST", `/api/leases/${first}/release`, asCi);
    await allocate();
    await server.ask("POST", "/api/pools/default/clear");
    await allocate();
    const { keys: [{ id }] } = await server.ask("GET", "/api/keys");
    const dashboard = await signedIn(stage, server, admin);
    await dashboard.page.evaluate(() => (location.hash = "token=1"));
    await dashboard.reads("#timeline li:nth-child(2)", /granted by key ci · ended by key ops/);
    await dashboard.reads("#timeline li:first-child", /granted by key ci$/);
    await dashboard.reads("#timeline li:nth-child(3)", /granted and ended by key ci$/);
    const reader = await signedIn(stage, server, await server.createKey("reader", "read"));
    await reader.page.evaluate(() => (location.hash = "token=1"));
    await reader.reads("#timeline li:first-child", new RegExp(`granted by key ${id}$`));
  });

  inBrowser("the dialogs are for everyone: rules, widths, languages", async (stage) => {
    const { server, admin } = await withKeys(stage);
    await server.createKey("a-key-with-a-name-that-is-as-long-as-names-of-keys-may-be-63-xx", "use", {
      pools: Array.from({ length: 9 }, (_, pool) => `pool-number-${pool}-*`), max_leases: 1000,
      max_requests_per_second: 50, expires_in_seconds: 9e6,
    });
    await server.request("GET", "/api/pools", { headers: { authorization: "Bearer tm_wrong" } });
    for (const [colorScheme, locale] of /** @type {const} */ ([["light", "pt-BR"], ["dark", "en-US"]])) {
      const context = await stage.context({ colorScheme, locale });
      const dashboard = await signedIn(stage, server, admin, context);
      const { page } = dashboard;
      const look = async (/** @type {string} */ state) => {
        for (const width of widths) {
          await page.setViewportSize({ width, height: 800 });
          assert.equal(await dashboard.overflow(), null, `${state}, ${width} wide`);
          await dashboard.until(`${state} fits, ${width} wide`, holdsItsContents, "dialog[open]");
        }
        await violates(dashboard, `${state}, ${colorScheme}`);
      };
      await page.evaluate(() => (location.hash = "keys"));
      await row(dashboard, "ops").waitFor();
      await look("the keys");
      await page.locator("#keys-new").click();
      await page.locator("#key-submit").click();
      await look("the form of a key");
      await page.locator("#key-cancel").click();
      await row(dashboard, "ops").locator("[data-act=revoke]").click();
      await look("the revocation");
      await page.locator("#revoke-cancel").click();
      await row(dashboard, "ops").locator("[data-act=rotate]").click();
      await look("the rotation");
      await page.locator("#rotate-cancel").click();
      await page.locator("#access-audit").click();
      await page.locator("#audit-list > li").first().waitFor();
      await look("the audit log");
      await page.locator("#access-refusals").click();
      await page.locator("#refusals-list > li").first().waitFor();
      await look("the refused requests");
      await page.keyboard.press("Escape");
      await page.locator("#account").click();
      await page.locator("#menu").waitFor();
      assert.equal(await dashboard.overflow(), null, "the menu");
    }
  });
});

/** Whether nothing in the dialogs is wider than they are. It runs in the page. @param {string} selector */
function holdsItsContents(selector) {
  return [...document.querySelectorAll(selector)].every(({ scrollWidth, clientWidth }) =>
    scrollWidth <= clientWidth);
}
