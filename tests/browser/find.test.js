// @ts-check
// Finding a token and its history.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

describe("finding", { concurrency: 3 }, () => {
  inBrowser("a search finds tokens by user, by token and by lease", async (stage) => {
    const server = await stage.server("--pool-size=6");
    const past = await server.allocate("zoe");
    await server.release(past.lease_id);
    const ann = await server.allocate("ann");
    const again = await server.allocate("ann");
    const bob = await server.allocate("bob");
    const dashboard = await stage.dashboard(server);
    const { page } = dashboard;
    const search = page.locator("#search");
    /** @param {string} text @param {string[]} wanted */
    const finds = async (text, wanted) => {
      await search.fill(text);
      await dashboard.until(`${text} finds ${wanted}`, resultsAre, [...wanted].sort());
    };

    await page.locator("body").press("/");
    assert.equal(await dashboard.focus(), "#search");
    await finds("ann", [ann.token_id, again.token_id]);
    await finds("bob", [bob.token_id]);
    await finds("zoe", [past.token_id]);
    await finds(bob.token_id.slice(0, 18), [bob.token_id]);
    await finds(bob.lease_id.slice(0, -2), [bob.token_id]);
    await finds(bob.lease_id.toUpperCase(), [bob.token_id]);
    await finds("nobody has this name", []);
    const [, second] = await server.tokens();
    for (const number of ["#2", "token 2"]) await finds(number, [second.id]);
    await search.fill("2");
    await search.press("Enter");
    await dashboard.drawer(second.id);
    await page.locator("#drawer-close").click();
    await dashboard.drawer(null);
    await finds("bob", [bob.token_id]);

    await search.press("Enter");
    await dashboard.drawer(bob.token_id);
    await page.locator("#drawer-close").click();
    await dashboard.drawer(null);
    await search.focus();
    await search.press("Escape");
    assert.equal(await search.inputValue(), "");
    await dashboard.until("no result is left", resultsAre, []);

    await finds("zoe", [past.token_id]);
    await page.locator("#search-results [data-token-id]").first().click();
    await dashboard.drawer(past.token_id);
  });

  inBrowser("a search on a pool's page finds what other pools have", async (stage) => {
    const server = await stage.server("--pool-size=2");
    await server.ask("PUT", "/api/pools", { pools: {
      staging: { description: "Environments", tokens: [
        { name: "staging-1", labels: { region: "eu" } }, { name: "staging-2" }] },
    } });
    const body = { user: "ann", token: "staging-2" };
    const held = await server.ask("POST", "/api/pools/staging/allocate", body);
    const dashboard = await stage.tab(server);
    const { page } = dashboard;
    await page.goto(`${server.url}/pools/default`);
    await dashboard.state("live");
    const search = page.locator("#search");
    /** @param {string} text @param {string} wanted */
    const finds = async (text, wanted) => {
      await search.fill(text);
      await dashboard.until(`${text} finds ${wanted}`, linksAre, wanted);
    };
    await finds("environm", "/pools/staging");
    const [{ id }] = (await server.ask("GET", "/api/pools/staging/tokens")).tokens;
    await finds("region=eu", `/pools/staging#token=${id}`);
    await finds("ann", `/pools/staging#token=${held.token_id}`);
    await finds(held.lease_id, `/pools/staging#token=${held.token_id}`);
    await finds("staging-2", `/pools/staging#token=${held.token_id}`);
    await search.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/pools\/staging#token=/);
    await dashboard.drawer(held.token_id);
    await dashboard.reads("#drawer-holder", /ann/);
  });

  inBrowser("a search on the page of all pools finds tokens and leases", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const tokens = [{ name: "staging-1" }];
    await server.ask("PUT", "/api/pools/staging", { tokens });
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.tab(server);
    const { page } = dashboard;
    await page.goto(`${server.url}/?q=ann`);
    await dashboard.until("the lease is found", foundAre, `/pools/default#token=${id}`);
    assert.equal(await page.locator("#search").inputValue(), "ann");
    const [{ id: other }] = (await server.ask("GET", "/api/pools/staging/tokens")).tokens;
    await page.locator("#search").fill("staging-1");
    await dashboard.until("the token is found", foundAre, `/pools/staging#token=${other}`);
    await page.locator("#search").press("Enter");
    await dashboard.drawer(other);
  });

  inBrowser("a search sets its matches apart in the grid", async (stage) => {
    const server = await stage.server("--pool-size=4");
    const ann = await server.allocate("ann");
    const bob = await server.allocate("bob");
    const dashboard = await stage.dashboard(server);
    await dashboard.shows(bob.token_id, "bob");
    const look = (/** @type {string} */ id) =>
      dashboard.cell(id).evaluate((cell) => {
        const { opacity, outlineStyle, boxShadow, backgroundColor, filter } =
          getComputedStyle(cell);
        return JSON.stringify({ opacity, outlineStyle, boxShadow, backgroundColor, filter });
      });
    await dashboard.page.locator("#search").fill("ann");
    await dashboard.until("ann is found", resultsAre, [ann.token_id]);
    assert.notEqual(await look(ann.token_id), await look(bob.token_id));
  });

  inBrowser(
    "a token's history is a timeline with reasons, and goes on by itself",
    async (stage) => {
      const server = await stage.server("--pool-size=1");
      const released = await server.allocate("ann");
      await server.release(released.lease_id);
      await server.allocate("bob", 0.02);
      const dashboard = await stage.dashboard(server);
      await dashboard.shows(released.token_id, null);
      await server.allocate("cid");
      await server.allocate("dan");
      await server.ask("DELETE", "/api/tokens/clear-active");
      const running = await server.allocate("eva");

      await dashboard.open(running.token_id);
      const reasons = ["running", "cleared", "evicted", "expired", "released"];
      await dashboard.until("the timeline tells all", timelineIs, reasons);
      const rows = await dashboard.page.locator("#timeline > li").allInnerTexts();
      const users = ["eva", "dan", "cid", "bob", "ann"];
      users.forEach((user, place) =>
        assert.ok(rows[place].includes(user), `${rows[place]}: ${user}`),
      );
      assert.equal(new Set(rows.map((row, place) => row.replace(users[place], ""))).size, 5);
      await dashboard.reads("#drawer-value", new RegExp(running.token_value));

      await server.release(running.lease_id);
      await server.allocate("fay");
      await dashboard.reads("#drawer-holder", /fay/);
      reasons.splice(0, 1, "running", "released");
      await dashboard.until("the timeline goes on", timelineIs, reasons);
    },
  );

  inBrowser("a long history loads more as one scrolls", async (stage) => {
    const server = await stage.server("--pool-size=1");
    const leases = [];
    for (let count = 0; count < 130; count += 1)
      leases.push((await server.allocate("ann")).lease_id);
    const [{ id }] = await server.tokens();
    const dashboard = await stage.dashboard(server);
    await dashboard.open(id);
    const shown = () => dashboard.page.locator("#timeline > li[data-lease-id]");
    await shown().first().waitFor();
    assert.ok((await shown().count()) < leases.length, "not all at once");
    await dashboard.until("all of it was loaded", scrollTimeline, leases.length);
    const ids = await shown().evaluateAll((rows) =>
      rows.map((row) => row.getAttribute("data-lease-id")),
    );
    assert.deepEqual(ids, leases.reverse());
    assert.ok(!(await dashboard.page.locator("#timeline-more").isVisible()), "there is no more");
  });

  inBrowser("the address opens a token's drawer, and back closes it", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const { token_id: id } = await server.allocate("ann");
    const tokens = await server.tokens();
    const other = tokens.find((token) => token.id !== id)?.id;
    const name = tokens.findIndex((token) => token.id === other) + 1;
    const dashboard = await stage.dashboard(server, { hash: `#token=${id}` });
    const { page } = dashboard;
    await dashboard.drawer(id);
    await dashboard.reads("#drawer-holder", /ann/);
    await page.locator("#drawer-close").click();
    await dashboard.drawer(null);
    await until("the address has no token", () => !page.url().includes("token="));

    await dashboard.open(other);
    assert.match(page.url(), new RegExp(`#token=${name}$`));
    await page.goBack();
    await dashboard.drawer(null);
    await page.goForward();
    await dashboard.drawer(other);
    await page.reload();
    await dashboard.drawer(other);
    await page.keyboard.press("Escape");
    await dashboard.drawer(null);
    await until("the address has no token", () => !page.url().includes("token="));
  });

  inBrowser("the address of an unknown token is safe", async (stage) => {
    const server = await stage.server("--pool-size=2");
    const hash = "#token=00000000-0000-4000-8000-000000000000";
    const dashboard = await stage.dashboard(server, { hash });
    dashboard.expect(/404/);
    const { id } = (await server.tokens())[0];
    await dashboard.page.evaluate((wanted) => (location.hash = wanted), `#token=${id}`);
    await dashboard.drawer(id);
  });

  inBrowser("a token's value and its lease's id can be copied", async (stage) => {
    const server = await stage.server("--pool-size=1");
    const held = await server.allocate("ann");
    const context = await stage.context();
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: server.url });
    const dashboard = await stage.tab(server, context);
    await dashboard.load(`#token=${held.token_id}`);
    await dashboard.drawer(held.token_id);
    await dashboard.page.locator("#drawer-copy").click();
    const { token_value: value } = held;
    const copied = async (/** @type {string} */ wanted) =>
      (await navigator.clipboard.readText()) === wanted;
    await dashboard.until("the value was copied", copied, value);
    await dashboard.page.locator("#drawer-copy-lease").click();
    await dashboard.until("the lease's id was copied", copied, held.lease_id);
    await server.release(held.lease_id);
    await dashboard.page.locator("#drawer-lease-row").waitFor({ state: "hidden" });
  });
});

// What follows runs in the page.

/** @param {string[]} wanted */
function resultsAre(wanted) {
  const results = [...document.querySelectorAll("#search-results [data-token-id]")];
  const ids = new Set(results.map((result) => result.getAttribute("data-token-id")));
  return JSON.stringify([...ids].sort()) === JSON.stringify(wanted);
}

/** @param {string} wanted the one link */
function linksAre(wanted) {
  const links = [...document.querySelectorAll("#search-results a")];
  return links.map((link) => link.getAttribute("href")).join(" ") === wanted;
}

/** @param {string} wanted */
function foundAre(wanted) {
  const links = [...document.querySelectorAll("#found:not([hidden]) a")];
  return links.map((link) => link.getAttribute("href")).join(" ") === wanted;
}

/** @param {string[]} wanted */
function timelineIs(wanted) {
  const rows = [...document.querySelectorAll("#timeline > li[data-lease-id]")];
  const reasons = rows.map((row) => row.getAttribute("data-reason"));
  return JSON.stringify(reasons) === JSON.stringify(wanted);
}

/**
 * Scrolls to what is there of it, and tells whether it is as long as wanted.
 * @param {number} wanted
 */
function scrollTimeline(wanted) {
  const rows = document.querySelectorAll("#timeline > li[data-lease-id]");
  rows[rows.length - 1]?.scrollIntoView({ block: "end" });
  return rows.length === wanted;
}
