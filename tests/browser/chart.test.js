// @ts-check
// The figures of the chart below the pointer and by keyboard, and the queue as a curve.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";

describe("the chart", () => {
  inBrowser("it shows the figures of a moment, by pointer and by keyboard", async (stage) => {
    const server = await stage.server("--pool-size=1", "--when-full=wait", "--lease=1h");
    await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    const { page } = dashboard;
    const key = { "idempotency-key": "chart", prefer: "wait=0" };
    const body = { user_id: "bob", wait_seconds: 60 };
    await server.request("POST", "/api/tokens/allocate", { headers: key, body });
    await dashboard.until("the curve of the queue", () =>
      document.querySelector("#chart-waiting")?.getAttribute("d"), undefined, 30_000);

    const plot = page.locator("#chart-plot");
    const box = /** @type {{ x: number, y: number, width: number, height: number }} */ (
      await page.locator("#chart").boundingBox());
    await page.mouse.move(box.x + box.width - 1, box.y + 20);
    await dashboard.reads("#chart-tip", /in use\s*1\s*Waiting\s*1\s*Allocations/);
    await page.mouse.move(box.x + box.width / 2, box.y + 20);
    await dashboard.reads("#chart-tip", /in use\s*0\s*Waiting\s*–/);
    await page.mouse.move(box.x, box.y + box.height + 300);
    await page.locator("#chart-tip").waitFor({ state: "hidden" });

    await plot.focus();
    await page.keyboard.press("ArrowLeft");
    await dashboard.reads("#chart-tip", /in use\s*1/);
    await dashboard.until("the figures are read aloud", () =>
      /1 in use.*1 waiting/.test(document.querySelector("#announcer")?.textContent ?? ""), undefined);
    await page.keyboard.press("Home");
    await dashboard.reads("#chart-tip", /in use\s*0/);
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#chart-tip").isVisible(), false);
  });
});
