// @ts-check
// Changes of pools and tokens from the page: each says before what it does, and the server has done it
// after.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

const staging = {
  when_full: "wait",
  lease: "30m",
  tokens: [
    { name: "staging-1", value: "one", labels: { region: "eu" } },
    { name: "staging-2", value: "two" },
    { name: "staging-3", value: "three" },
  ],
};

/**
 * The page of the pool staging, whose first two tokens ann and bob hold.
 * @param {import("./harness/stage.js").Stage} stage
 * @param {string} [hash]
 */
async function open(stage, hash = "") {
  const server = await stage.server("--pool-size=2");
  await server.put("staging", staging);
  for (const [user, token] of [["ann", "staging-1"], ["bob", "staging-2"]]) {
    await server.allocateFrom("staging", { user, token });
  }
  const dashboard = await stage.dashboard(server, { pool: "staging", me: "ops", hash });
  const { page } = dashboard;
  const token = (/** @type {string} */ name) => server.ask("GET", `/api/pools/staging/tokens/${name}`);
  const act = (/** @type {string} */ name) => page.locator(`#drawer-acts [data-act=${name}]`);
  const menu = async (/** @type {string} */ name) => {
    await page.locator("#pool-acts button").click();
    await page.locator(`#menu [data-act=${name}]`).click();
  };
  const closed = (/** @type {string} */ dialog) =>
    page.locator(`#${dialog}-dialog`).waitFor({ state: "hidden" });
  return { server, dashboard, page, token, act, menu, closed };
}

describe("changes from the page", { concurrency: 3 }, () => {
  inBrowser("a token is cordoned, drained, edited and retired", async (stage) => {
    const { dashboard, page, token, act, closed } = await open(stage, "#token=staging-1");
    await act("cordon").click();
    await dashboard.reads("#taint-effect", /ann/);
    await page.locator("#taint-reason").fill("disk full");
    await page.locator("#taint-until").fill("90");
    await page.locator("#taint-submit").click();
    await dashboard.reads("#taint-error", /\p{Letter}/u);
    await page.locator("#taint-until").fill("2h");
    await dashboard.reads("#taint-until-time", /\d/);
    await page.locator("#taint-submit").click();
    await act("uncordon").waitFor();
    const [taint] = (await token("staging-1")).taints;
    assert.deepEqual([taint.name, taint.effect, taint.reason, taint.by],
      ["cordon", "no-new-leases", "disk full", "ops"]);
    assert.ok(Math.abs(Date.parse(taint.until) - Date.now() - 7_200_000) < 60_000);
    await act("uncordon").click();
    await act("cordon").waitFor();
    assert.deepEqual((await token("staging-1")).taints, []);

    await act("drain").click();
    await dashboard.reads("#taint-effect", /ann/);
    await page.locator("#taint-submit").click();
    await dashboard.told("drained");
    assert.equal((await token("staging-1")).lease, null);

    await act("edit").click();
    assert.equal(await page.locator("#token-labels").inputValue(), "region=eu");
    assert.equal(await page.locator("#token-value").inputValue(), "", "the value stays hidden");
    await page.locator("#token-name").fill("eu-1");
    await page.locator("#token-labels").fill("region=us, tier=a");
    await page.locator("#token-value").fill("new value");
    await page.locator("#token-submit").click();
    await closed("token");
    assert.deepEqual((await token("eu-1")).labels, { region: "us", tier: "a" });
    await page.keyboard.press("Escape");

    const { id } = await token("staging-2");
    await dashboard.open(id);
    await act("retire").click();
    await dashboard.reads("#retire-effect", /bob/);
    assert.equal(await dashboard.focus(), "#retire-cancel");
    await page.locator("#retire-submit").click();
    await page.locator(`.cell[data-token-id="${id}"][data-off=retiring]`).waitFor();
    assert.equal((await token(id)).lease.user, "bob");
  });

  inBrowser("a policy shows its effect before it is saved, and changes of others are not lost", async (stage) => {
    const { server, dashboard, page, menu, closed } = await open(stage);
    dashboard.expect(/412/);
    await menu("policy");
    await page.locator("#policy-lease").fill("20m");
    await page.locator("#policy-full").selectOption("reject");
    await dashboard.reads("#policy-words", /20m.*refused/);
    await dashboard.reads("#policy-changes", /30m → 20m[^]*wait → refuse/);
    await dashboard.reads("#policy-said", /2 running leases keep/);
    assert.equal((await server.pool("staging")).policy.lease_seconds, 1800, "nothing is changed yet");
    await page.locator("#policy-max").fill("1m");
    await dashboard.reads("#policy-words", /can't be shorter/);
    await page.locator("#policy-max").fill("");
    await dashboard.reads("#policy-changes", /30m → 20m/);

    await server.put("staging", { max_per_user: 5 });
    await page.locator("#policy-submit").click();
    await dashboard.reads("#policy-error", /changed meanwhile/);
    await dashboard.reads("#policy-changes", /5 → no limit/);
    await page.locator("#policy-user").fill("5");
    await dashboard.reads("#policy-changes", /^(?![^]*no limit)[^]*30m → 20m/);
    await page.locator("#policy-submit").click();
    await closed("policy");
    const { policy } = await server.pool("staging");
    assert.deepEqual([policy.lease_seconds, policy.max_lease_seconds, policy.when_full, policy.max_per_user],
      [1200, 1200, "reject", 5]);
    await dashboard.reads("#policy", /20m/);
  });

  inBrowser("a pool is created with a range of tokens, gets more, and is deleted", async (stage) => {
    const { server, dashboard, page, menu, closed } = await open(stage);
    await menu("new");
    await page.locator("#policy-name").fill("staging");
    await page.locator("#policy-tokens").fill("ci-[01-12]");
    await dashboard.reads("#policy-words", /12 tokens: ci-01 … ci-12/);
    dashboard.expect(/412/);
    await page.locator("#policy-submit").click();
    await dashboard.reads("#policy-error", /exists already/);
    await page.locator("#policy-name").fill("ci");
    await page.locator("#policy-submit").click();
    await until("the page of the new pool", () => page.url().endsWith("/pools/ci"));
    dashboard.pool = "ci";
    await dashboard.live();
    assert.equal((await server.pool("ci")).policy.show_values, "holder");

    await menu("add");
    await page.locator("#add-names").fill("ci-12, x");
    await dashboard.reads("#add-preview", /“ci-12”/);
    await page.locator("#add-names").fill("x-[1-3]");
    await page.locator("#add-value").fill("https://{name}.example");
    await page.locator("#add-labels").fill("region=eu");
    await page.locator("#add-submit").click();
    await dashboard.counts({ size: 15 });
    const { token_value: value, labels } = await server.allocateFrom("ci", { user: "cid", token: "x-2" });
    assert.deepEqual([value, labels], ["https://x-2.example", { region: "eu" }]);

    await dashboard.counts({ active: 1 });
    await menu("delete");
    await dashboard.reads("#delete-counts", /1 lease ends/);
    await page.locator("#delete-name").fill("staging");
    await page.locator("#delete-submit").click();
    await dashboard.reads("#delete-error", /not the name/);
    assert.equal((await server.pool("ci")).size, 15);
    await page.locator("#delete-name").fill("ci");
    dashboard.expect(/404/);
    await page.locator("#delete-submit").click();
    await until("the start page", () => page.url() === `${server.url}/`);
    const { pools } = await server.ask("GET", "/api/pools");
    assert.deepEqual(pools.map((/** @type {any} */ { name }) => name), ["default", "staging"]);
    await closed("delete");
  });

  inBrowser("a pool with fixed tokens says why, and hides nothing else", async (stage) => {
    const server = await stage.server("--pool-size=2");
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    const { page } = dashboard;
    await page.locator("#pool-acts button").click();
    await page.locator("#menu [data-act=add]").click();
    await dashboard.reads("#add-preview", /are fixed/);
    assert.equal(await page.locator("#add-submit").getAttribute("aria-disabled"), "true");
    await page.keyboard.press("Escape");
    await dashboard.open(id);
    await dashboard.reads("#drawer-acts", /are fixed/);
    for (const [act, off] of [["edit", "true"], ["retire", "true"], ["cordon", "false"]]) {
      const button = page.locator(`#drawer-acts [data-act=${act}]`);
      assert.equal(await button.getAttribute("aria-disabled"), off, act);
    }
    await page.locator("#drawer-acts .link").click();
    await page.locator("#policy-membership").selectOption("open");
    await dashboard.reads("#policy-changes", /are fixed → can change/);
    await page.locator("#policy-submit").click();
    await page.locator("#drawer-acts [data-act=edit][aria-disabled=false]").waitFor();
  });
});
