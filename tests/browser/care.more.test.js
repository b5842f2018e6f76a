// @ts-check
// Long looks at a busy pool, and questions whose answer comes late.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";

describe("patience", { concurrency: 3 }, () => {
  inBrowser("a timeline left open on a busy token reads with pauses", async (stage) => {
    const server = await stage.server("--pool-size=1");
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    await dashboard.open(id);
    const path = "/api/leases";
    const begun = performance.now();
    for (let count = 0; performance.now() - begun < 3000; count += 1) {
      await server.allocate(`user ${count}`);
    }
    assert.ok(server.taken(path) <= 6, `${server.taken(path)} times`);
  });

  inBrowser("a failure to end all leases is told, though its dialog is closed", async (stage) => {
    const server = await stage.server("--pool-size=2");
    const dashboard = await stage.dashboard(server);
    dashboard.expect(/503/);
    const { page } = dashboard;
    /** @type {() => void} */
    let answer = () => {};
    await page.route("**/pools/default/clear", async (route) => {
      await new Promise((resolve) => (answer = () => resolve(null)));
      await route.fulfill({ status: 503, json: { code: "not-done", title: "Not done" } });
    });
    await page.locator("#clear").click();
    const off = page.locator('#clear-confirm[aria-disabled="true"]');
    await off.waitFor();
    await server.allocate("ann");
    await page.locator('#clear-confirm[aria-disabled="false"]').click();
    await off.waitFor();
    await page.keyboard.press("Escape");
    await page.locator("#clear-dialog").waitFor({ state: "hidden" });
    answer();
    await page.locator("#notice").waitFor();
    await dashboard.reads("#announcer", /\p{Letter}/u);
  });

  inBrowser("the focus survives the end of what is next to expire", async (stage) => {
    const server = await stage.server("--pool-size=2");
    const ann = await server.allocate("ann\u2069\u202e");
    const dashboard = await stage.dashboard(server);
    const link = dashboard.page.locator("#callout-expire button");
    await link.focus();
    await server.allocate("bob");
    assert.match(await dashboard.name(ann.token_id), /\u2068ann\ufffd\u202e\u2069,/);
    await server.release(ann.lease_id);
    await dashboard.reads("#callout-expire button", /bob/);
    assert.ok(await link.evaluate((button) => button === document.activeElement));
    await server.ask("DELETE", "/api/tokens/clear-active");
    await link.waitFor({ state: "detached" });
    assert.equal(await dashboard.focus(), "#tokens");
  });
});
