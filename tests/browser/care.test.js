// @ts-check
// What is done by the page is done to what one saw, and once.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

const wait = ["--pool-size=1", "--when-full=wait", "--lease=60s"];

/** Who had a token and why it ended, newest first.
 * @param {import("./harness/server.js").Server} server @param {string} id */
async function past(server, id) {
  const { history } = await server.ask("GET", `/api/tokens/${id}/history`);
  return history.map((/** @type {any} */ row) => `${row.user} ${row.end_reason ?? "running"}`);
}

/** Stands in the queue. @param {import("./harness/server.js").Server} server
 * @param {string} user */
async function queue(server, user) {
  const { waiting } = await server.pool();
  const body = { user_id: user, wait_seconds: 30 };
  const granted = server.ask("POST", "/api/tokens/allocate", body).catch(() => null);
  await until(`${user} waits`, async () => (await server.pool()).waiting > waiting);
  return granted;
}

describe("care", { concurrency: 3 }, () => {
  inBrowser("a double click releases one lease, not the next one too", async (stage) => {
    const server = await stage.server(...wait);
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server, { me: "ann" });
    await dashboard.open(id);
    void queue(server, "bob");
    await dashboard.counts({ waiting: 1 });
    void queue(server, "cid");
    await dashboard.counts({ waiting: 2 });
    const release = dashboard.page.locator("#drawer-release");
    await release.dblclick({ delay: 60 });
    await dashboard.reads("#drawer-holder", /bob/);
    await release.click({ force: true });
    await release.press("Enter");
    // On a slow machine the calm may be over by then: so it is asked about bob's.
    const cancel = dashboard.page.locator("#release-cancel");
    if (await cancel.isVisible()) await cancel.click();
    const allowed = dashboard.page.locator('#drawer-release[aria-disabled="false"]');
    await allowed.waitFor();
    assert.deepEqual(await past(server, id), ["bob running", "ann released"]);
    await dashboard.reads("#announcer", /bob/);
    await dashboard.releaseTheirs();
    await dashboard.reads("#drawer-holder", /cid/);
  });

  inBrowser("a press that began on one lease does not end its successor's", async (stage) => {
    const server = await stage.server("--pool-size=1");
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server, { me: "ann" });
    dashboard.expect(/409/, /410/);
    const { page } = dashboard;
    await dashboard.open(id);
    await page.locator("#drawer-release").hover();
    await page.mouse.down();
    await server.allocate("bob");
    await dashboard.reads("#drawer-holder", /bob/);
    await page.mouse.up();
    await dashboard.reads("#drawer-error", /\p{Letter}/u);
    assert.deepEqual(await past(server, id), ["bob running", "ann evicted"]);
  });

  inBrowser("a release that fails is told, though its drawer is closed", async (stage) => {
    const server = await stage.server("--pool-size=2", "--max-lease=120s", "--lease=60s");
    const ann = await server.allocate("ann");
    const bob = await server.allocate("bob");
    const dashboard = await stage.dashboard(server);
    dashboard.expect(/503/);
    const { page } = dashboard;
    /** @type {() => void} */
    let answer = () => {};
    await page.route("**/renew", async (route) => {
      await new Promise((resolve) => (answer = () => resolve(null)));
      await route.fulfill({ status: 503, json: { code: "not-done", title: "Not done" } });
    });
    await dashboard.open(ann.token_id);
    const [release, renew] = ["release", "renew"].map((act) => page.locator(`#drawer-${act}`));
    const [releasing, renewing] = [await release.innerText(), await renew.innerText()];
    await renew.click();
    assert.equal(await release.innerText(), releasing, "it is not being released");
    assert.notEqual(await renew.innerText(), renewing);
    await page.locator("#drawer-close").click();
    await dashboard.open(bob.token_id);
    assert.equal(await renew.innerText(), renewing, "another token's button is its own");
    await page.evaluate(() => history.replaceState(null, "", location.pathname));
    answer();
    await page.locator("#notice").waitFor();
    await dashboard.reads("#notice", /1/);
    await dashboard.reads("#announcer", /\p{Letter}/u);
    await dashboard.releaseTheirs();
    await dashboard.shows(bob.token_id, null);
  });

  inBrowser("closing a drawer closes it, and selecting its text does not", async (stage) => {
    const server = await stage.server("--pool-size=2");
    const [one, two] = await server.tokens();
    const dashboard = await stage.dashboard(server, { hash: `#token=${one.id}` });
    const { page } = dashboard;
    await dashboard.drawer(one.id);
    await page.evaluate((id) => (location.hash = `#token=${id}`), two.id);
    await dashboard.drawer(two.id);
    await page.locator("#drawer-id").hover();
    await page.mouse.down();
    await page.mouse.move(40, 300, { steps: 4 });
    await page.mouse.up();
    await dashboard.drawer(two.id);
    await page.locator("#drawer-close").click();
    await dashboard.drawer(null);
    await dashboard.open(one.id);
    await page.mouse.click(40, 300);
    await dashboard.drawer(null);
  });

  inBrowser("allocating happens once, however long a key is held", async (stage) => {
    const server = await stage.server("--pool-size=8");
    const dashboard = await stage.dashboard(server);
    const { page } = dashboard;
    const user = page.locator("#allocate-user");
    await user.fill("ann");
    // The page's time stands still: however slowly the test presses them, keys follow the answer at once.
    await page.evaluate(() => {
      const now = performance.now();
      performance.now = () => now;
    });
    await page.locator("#allocate-submit").dblclick({ delay: 30 });
    await dashboard.reads("#allocate-result", /ann/);
    await user.press("End");
    await user.press("Enter");
    await page.evaluate(() => Reflect.deleteProperty(performance, "now"));
    await user.fill("bob");
    for (let times = 0; times < 12; times += 1) await page.keyboard.down("Enter");
    await page.keyboard.up("Enter");
    await dashboard.reads("#allocate-result", /bob/);
    await dashboard.counts({ active: 2 });
    for (const wrong of ["90", "3m", "0s", "1-"]) {
      await page.locator("#allocate-length").fill(wrong);
      await page.locator("#allocate-submit").click();
      await dashboard.reads("#allocate-error", /\b90s\b.*\b2m\b/);
      assert.equal(await dashboard.focus(), "#allocate-length");
    }
    assert.equal((await server.pool()).active, 2);
  });

  inBrowser("what was allocated is said to be over when it is", async (stage) => {
    const server = await stage.server("--pool-size=1");
    const dashboard = await stage.dashboard(server);
    const { page } = dashboard;
    await dashboard.allocate("ann");
    await dashboard.reads("#allocate-result", /ann/);
    const sentence = await dashboard.text("#allocate-result p");
    const copy = page.locator("#allocate-result button");
    await copy.focus();
    await dashboard.counts({ active: 1 });
    assert.equal(await dashboard.text("#allocate-result p"), sentence);
    await server.allocate("bob");
    await page.locator("#allocate-result.over").waitFor();
    assert.notEqual(await dashboard.text("#allocate-result p"), sentence);
    assert.ok(await copy.evaluate((button) => button === document.activeElement));
  });

  inBrowser("a wait can be given up, and leaves no lease behind", async (stage) => {
    const server = await stage.server(...wait);
    const { lease_id: ann } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    const cancel = dashboard.page.locator("#allocate-cancel");
    await dashboard.allocate("bob");
    await cancel.waitFor();
    await until("bob waits", async () => (await server.pool()).waiting === 1);
    await cancel.click();
    await cancel.waitFor({ state: "hidden" });
    assert.equal(await dashboard.focus(), "#allocate-user");
    await dashboard.reads("#announcer", /\p{Letter}/u);
    assert.equal(await dashboard.text("#allocate-error"), "");
    await until("the queue is empty", async () => (await server.pool()).waiting === 0);
    await server.release(ann);
    await dashboard.counts({ active: 0 });

    await server.allocate("cid");
    await dashboard.counts({ active: 1 });
    await dashboard.allocate("dan");
    await cancel.waitFor();
    dashboard.expect(/ERR_/);
    await server.end("SIGKILL");
    await dashboard.state("lost");
    await cancel.click();
    // Nothing can be given up at a server that is away.
    await dashboard.reads("#allocate-error", /15 seconds/, 15_000);
    await cancel.waitFor({ state: "hidden" });
  });

  inBrowser("what a search found can be pressed while much happens", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const tokens = await server.tokens();
    const dashboard = await stage.dashboard(server);
    const { page } = dashboard;
    let going = true;
    const traffic = (async () => {
      for (let count = 0; going; count += 1) await server.allocate(`user ${count}`);
    })();
    try {
      await page.locator("#search").fill("user");
      const results = page.locator("#search-results [data-token-id]");
      await dashboard.until("three are found", countOf, "#search-results [data-token-id]");
      for (const { id } of tokens) {
        await page.locator("#search").focus();
        await page.locator(`#search-results [data-token-id="${id}"]`).first().click({ delay: 90 });
        await dashboard.drawer(id);
        await page.locator("#drawer-close").click();
        await dashboard.drawer(null);
      }
      await page.locator("#search").focus();
      await results.first().focus();
      const moved = page.evaluate(() => new Promise((resolve) => {
        let times = 0;
        addEventListener("focusin", () => (times += 1));
        setTimeout(() => resolve(times), 1000);
      }));
      assert.equal(await moved, 0, "the focus stays where it is");
      await results.first().press("Enter");
      await dashboard.drawer(tokens[0].id);
      await page.locator("#drawer-close").click();
      await dashboard.drawer(null);
      assert.equal(await dashboard.focus(), "#search");
    } finally {
      going = false;
      await traffic;
    }
    await dashboard.reads("#search-results .what", /\b\d+s\b/);
    const first = "#search-results li:first-child .what";
    const left = await dashboard.text(first);
    await until("time goes on", async () => (await dashboard.text(first)) !== left);
  });
});

/** @param {string} selector */
function countOf(selector) {
  return document.querySelectorAll(selector).length >= 3;
}
