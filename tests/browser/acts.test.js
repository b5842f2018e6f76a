// @ts-check
// What the page says of an act: before it, after it, and when it could not be done.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";

// The attempts of the page, and then the server's return.
const failsMs = 15_000;
const backMs = 15_000;

describe("acts", { concurrency: 3 }, () => {
  inBrowser("releasing another person's lease asks first, one's own does not", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const dashboard = await stage.dashboard(server);
    const { page } = dashboard;
    const dialog = page.locator("#release-dialog");
    const { token_id: theirs, lease_id: lease } = await server.allocate("Bob");
    await dashboard.allocate("Ann");
    await dashboard.reads("#allocate-result", /Ann/);
    const own = (await server.tokens()).find(({ user }) => user === "Ann")?.id;

    await dashboard.open(own);
    await page.locator("#drawer-release").click();
    await dashboard.shows(own, null);
    assert.equal(await dialog.isVisible(), false);
    await page.keyboard.press("Escape");
    await dashboard.drawer(null);

    await dashboard.open(theirs);
    await page.locator("#drawer-release").click();
    await dashboard.reads("#release-whose", /Bob/);
    await dashboard.reads("#release-title", /1/);
    assert.equal(await dashboard.focus(), "#release-cancel");
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "hidden" });
    await page.locator("#drawer-release").click();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await dashboard.drawer(theirs);
    assert.equal((await server.pool()).active, 1, "cancel and Escape do nothing");

    await page.locator("#drawer-release").click();
    await server.release(lease);
    await dashboard.reads("#release-over", /\p{Letter}/u);
    await page.locator("#release-confirm").click({ force: true });
    assert.ok(await dialog.isVisible(), "nothing is left to be released");
    await page.locator("#release-cancel").click();
    await page.keyboard.press("Escape");
    await dashboard.drawer(null);

    await server.allocate("Cid");
    const last = (await server.tokens()).find(({ user }) => user === "Cid")?.id;
    await dashboard.shows(last, "Cid");
    await dashboard.open(last);
    await dashboard.releaseTheirs();
    await dashboard.shows(last, null);
    await dashboard.told("released");
    const [{ text }] = await dashboard.feed();
    const number = await dashboard.cell(last).getAttribute("data-position");
    assert.match(text, new RegExp(`^Token ${Number(number) + 1} released.*was held by Cid$`));
    // Who knows the page again is known by it.
    await page.reload();
    await dashboard.live();
    assert.equal(await page.locator("#allocate-user").inputValue(), "Ann");
  });

  inBrowser("where nothing was sent the page says so, and no longer than it is true", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server, { me: "ann" });
    const { page } = dashboard;
    dashboard.expect(/ERR_/);
    await server.end("SIGKILL");
    await dashboard.state("lost");
    await dashboard.allocate("bob");
    await dashboard.reads("#allocate-error", /can't be reached.*[Nn]othing was sent/, failsMs);
    await dashboard.open(id);
    await page.locator("#drawer-release").click();
    await dashboard.reads("#drawer-error", /[Nn]othing was sent/, failsMs);
    await server.run();
    await dashboard.live(backMs);
    await dashboard.reads("#allocate-error", /^$/);
    await dashboard.reads("#drawer-error", /^$/);
    assert.equal((await server.pool()).active, 1, "it was true");
  });

  inBrowser("where an answer was lost the page does not say that nothing was done", async (stage) => {
    const server = await stage.server("--pool-size=3", "--max-lease=2h");
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server, { me: "ann" });
    const { page } = dashboard;
    dashboard.expect(/ERR_/);
    await page.route("**/renew", (route) => route.abort("connectionreset"));
    await dashboard.open(id);
    await page.locator("#drawer-renew").click();
    await dashboard.reads("#drawer-error", /unknown whether/);
    await server.end("SIGKILL");
    await dashboard.state("lost");
    await server.run();
    await dashboard.live(backMs);
    await dashboard.reads("#drawer-error", /^$/);
  });

  inBrowser("lengths have one form, in both languages", async (stage) => {
    const server = await stage.server("--pool-size=3", "--lease=90s", "--max-lease=8h");
    const { lease_id: lease } = await server.allocate("ann");
    await server.release(lease);
    for (const locale of ["en-US", "pt-BR"]) {
      const dashboard = await stage.dashboard(server, { locale });
      await dashboard.reads("#policy", /\b90s\b.*\b8h\b/);
      const length = dashboard.page.locator("#allocate-length");
      assert.equal(await length.getAttribute("placeholder"), "90s");
      await length.fill("45s");
      await dashboard.allocate(locale);
      await dashboard.reads("#allocate-result", new RegExp(locale));
      const { expires_in: left } = (await server.ask("GET", `/api/leases?user=${locale}`)).leases[0];
      assert.ok(left > 30 && left <= 45, `${left}`);
    }
  });
});
