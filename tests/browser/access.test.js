// @ts-check
// By keyboard alone, and by what a screen reader is told.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { violates } from "./harness/axe.js";
import { inBrowser } from "./harness/stage.js";

/** @typedef {import("./harness/dashboard.js").Dashboard} Dashboard */

// The longest come first, so that they don't end last.
describe("accessibility", { concurrency: 3 }, () => {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    for (const width of [1280, 360]) {
      inBrowser(
        `no rule of accessibility is broken: ${colorScheme}, ${width} wide`,
        async (stage) => {
          const server = await stage.server("--pool-size=8", "--lease=10m");
          const viewport = { width, height: 800 };
          const dashboard = await stage.dashboard(server, { colorScheme, viewport });
          await walk(dashboard);
        },
      );
    }
  }

  inBrowser("everything can be done by keyboard, and the focus is always seen", async (stage) => {
    const server = await stage.server("--pool-size=30");
    const dashboard = await stage.dashboard(server);
    const { keyboard } = dashboard.page;
    const ids = (await server.tokens()).map(({ id }) => id);

    await tabTo(dashboard, "#allocate-user");
    await keyboard.type("ann");
    await keyboard.press("Enter");
    await dashboard.reads("#allocate-result", /\S/);
    await dashboard.reads("#announcer", /\S/);
    const place = (await server.tokens()).findIndex(({ user }) => user === "ann");
    await dashboard.shows(ids[place], "ann");

    await tabTo(dashboard, "#grid .cell");
    await keyboard.press("End");
    await focusIsAt(dashboard, ids.length - 1);
    await keyboard.press("Home");
    await focusIsAt(dashboard, 0);
    await keyboard.press("ArrowDown");
    const columns = await focusedPosition(dashboard);
    assert.ok(columns > 1 && columns < ids.length, `a row down is ${columns} further`);
    await keyboard.press("ArrowUp");
    await focusIsAt(dashboard, 0);
    for (let at = 0; at < place; at += 1) await keyboard.press("ArrowRight");
    await focusIsAt(dashboard, place);
    if (place > 0) {
      await keyboard.press("ArrowLeft");
      await focusIsAt(dashboard, place - 1);
      await keyboard.press("ArrowRight");
    }
    assert.ok(await dashboard.page.evaluate(focusIsSeen), "the cell's focus is seen");

    await keyboard.press("Enter");
    await dashboard.drawer(ids[place]);
    assert.ok(await dashboard.page.evaluate(focusIsIn, "#drawer"), "the focus is in the drawer");
    await tabTo(dashboard, "#drawer-release");
    await keyboard.press("Enter");
    await dashboard.shows(ids[place], null);
    assert.ok(await dashboard.page.evaluate(focusIsIn, "#drawer"), "the focus is still in it");
    await keyboard.press("Escape");
    await dashboard.drawer(null);
    await focusIsAt(dashboard, place);

    await server.allocate("bob");
    await dashboard.counts({ active: 1 });
    await tabTo(dashboard, "#clear");
    await keyboard.press("Enter");
    await dashboard.reads("#clear-count", /^1$/);
    assert.equal(await dashboard.focus(), "#clear-cancel");
    await tabTo(dashboard, "#clear-confirm");
    await keyboard.press("Space");
    await dashboard.counts({ active: 0 });
    assert.notEqual(await dashboard.focus(), "nothing", "the focus is not lost");

    for (const button of ["#theme", "#language", "#pause", "#search"])
      await tabTo(dashboard, button);
  });

  inBrowser("a grid of cells is one stop for Tab, also after the pool changed", async (stage) => {
    const server = await stage.server("--pool-size=12");
    const dashboard = await stage.dashboard(server);
    const stops = () => dashboard.page.locator('#grid .cell[tabindex="0"]').count();
    assert.equal(await stops(), 1);
    await dashboard.page.locator("#grid .cell").nth(5).focus();
    await server.allocate("ann");
    await dashboard.counts({ active: 1 });
    assert.equal(await stops(), 1);
    await focusIsAt(dashboard, 5);
  });

  inBrowser("the overview of a large pool can be walked through and pointed at", async (stage) => {
    const server = await stage.server("--pool-size=2500");
    const { token_id: id } = await server.allocate("ann");
    const tokens = await server.tokens();
    const position = tokens.findIndex((token) => token.id === id);
    const dashboard = await stage.dashboard(server);
    const { keyboard, mouse } = dashboard.page;
    const canvas = dashboard.page.locator("canvas#map");

    await tabTo(dashboard, "#map");
    await keyboard.press("Home");
    for (let at = 0; at < Math.min(position, 5); at += 1) await keyboard.press("ArrowRight");
    await keyboard.press("Enter");
    await dashboard.drawer(tokens[Math.min(position, 5)].id);
    await keyboard.press("Escape");
    await dashboard.drawer(null);
    assert.equal(await dashboard.focus(), "#map");
    await keyboard.press("ArrowRight");
    await dashboard.reads("#map-hint", /\d/);

    await canvas.scrollIntoViewIfNeeded();
    const box = await canvas.boundingBox();
    assert.ok(box);
    await mouse.move(box.x + 4, box.y + 4);
    await dashboard.reads("#map-hint", /\b1\b/);
    await mouse.click(box.x + 4, box.y + 4);
    await dashboard.drawer(tokens[0].id);
    await keyboard.press("Escape");
    await dashboard.drawer(null);
    await violates(dashboard, "the overview");
  });
});

/** Through all that there is to see. @param {Dashboard} dashboard */
async function walk(dashboard) {
  const { page, server } = dashboard;
  await violates(dashboard, "an unused pool");

  for (const user of ["ann", "bob", "<cid>", "dan", "eva", "fay", "gus", "hal", "ida"]) {
    await server.allocate(user, user === "bob" ? 60 : 500);
  }
  await dashboard.agrees();
  const { token_id: id } = await server.allocate("joe");
  await dashboard.shows(id, "joe");
  await page.locator("#search").fill("joe");
  await page.locator("#search-results [data-token-id]").first().waitFor();
  await violates(dashboard, "a full pool, searched");
  await page.locator("#search").press("Escape");

  await dashboard.open(id);
  await page.locator("#timeline > li[data-lease-id]").first().waitFor();
  await violates(dashboard, "a token's drawer");
  await page.keyboard.press("Escape");
  await dashboard.drawer(null);

  await page.locator("#clear").click();
  await violates(dashboard, "the dialog");
  await page.locator("#clear-cancel").click();

  await dashboard.allocate("kim");
  await dashboard.reads("#allocate-result", /\S/);
  await page.locator("#pause").click();
  await violates(dashboard, "an answer, the feed paused");

  dashboard.expect(/ERR_/);
  await server.end("SIGKILL");
  await dashboard.state("lost");
  await dashboard.allocate("lea");
  await dashboard.reads("#allocate-error", /\S/, 12_000);
  await violates(dashboard, "a lost connection");
}

/**
 * By Tab, as far as a round through the page.
 * @param {Dashboard} dashboard
 * @param {string} selector
 */
async function tabTo(dashboard, selector) {
  for (let count = 0; count < 80; count += 1) {
    await dashboard.page.keyboard.press("Tab");
    const there = (/** @type {string} */ wanted) =>
      document.activeElement?.matches(wanted) ?? false;
    if (!(await dashboard.page.evaluate(there, selector))) continue;
    assert.ok(await dashboard.page.evaluate(focusIsSeen), `the focus on ${selector} is seen`);
    return;
  }
  assert.fail(`Tab does not lead to ${selector}`);
}

/** @param {Dashboard} dashboard */
function focusedPosition(dashboard) {
  return dashboard.page.evaluate(() =>
    Number(/** @type {HTMLElement} */ (document.activeElement).dataset.position ?? -1),
  );
}

/** @param {Dashboard} dashboard @param {number} position */
async function focusIsAt(dashboard, position) {
  assert.equal(await focusedPosition(dashboard), position);
}

// What follows runs in the page.

/** @param {string} selector */
function focusIsIn(selector) {
  return (
    document.activeElement?.closest(selector) !== null && document.activeElement !== document.body
  );
}

/** Whether the focused element, or what is around it, looks different for being focused. */
async function focusIsSeen() {
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const parent = /** @type {HTMLElement} */ (focused.parentElement);
  const around = [focused, ...parent.children, parent, parent.parentElement ?? parent];
  const look = async () => {
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    for (const animation of document.getAnimations()) {
      if (animation instanceof CSSTransition) animation.finish();
    }
    return JSON.stringify(
      around.slice(0, 20).map((element) => {
        const style = getComputedStyle(element);
        return [style.display, style.outline, style.boxShadow, style.borderColor, style.background];
      }),
    );
  };
  const before = await look();
  focused.blur();
  const after = await look();
  focused.focus({ preventScroll: true });
  return before !== after;
}
