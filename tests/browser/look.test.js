// @ts-check
// Themes, languages, widths, and names that are meant to do harm.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

/** @typedef {import("./harness/dashboard.js").Dashboard} Dashboard */

const widths = [320, 360, 768, 1280, 2560];

const hostile = [
  '<img src=x onerror="globalThis.harmed = true">',
  "</li></ol><script>globalThis.harmed = true</script>",
  "\u202egnp.exe\u2066 right to left",
  "W".repeat(255),
  "👩‍🚀 🇧🇷 Zoë Ünïçødé 王小明",
  `O'Neil "the" \`quoted\` & co. {{7*7}} \${7*7}`,
  "javascript:globalThis.harmed=true",
  "  spaces  and\ttabs ",
];

// The longest come first, so that they don't end last.
describe("looks", { concurrency: 3 }, () => {
  inBrowser("nothing is left untranslated", async (stage) => {
    const server = await stage.server("--pool-size=4", "--lease=90s", "--max-lease=10m");
    const english = await stage.dashboard(server, { locale: "en-US" });
    const portuguese = await stage.dashboard(server, { locale: "pt-BR" });
    /** @type {Set<string>[]} */
    const seen = [new Set(), new Set()];
    const collect = async () => {
      for (const [place, { page }] of [english, portuguese].entries()) {
        for (const text of await page.evaluate(visibleTexts)) seen[place].add(text);
      }
    };
    const both = async (/** @type {(dashboard: Dashboard) => Promise<unknown>} */ act) => {
      for (const dashboard of [english, portuguese]) await act(dashboard);
    };

    await collect();
    const { token_id: id } = await server.allocate("ann");
    await server.ask("DELETE", "/api/tokens/clear-active");
    await server.allocate("ann", 0.02);
    for (const user of ["ann", "bob", "ann", "bob", "ann"]) await server.allocate(user);
    const running = (await server.tokens()).find((token) => token.user === "bob");
    await server.ask("POST", `/api/leases/${running?.lease_id}/renew`);
    await server.release(running?.lease_id);
    await both((dashboard) => dashboard.agrees());
    await both((dashboard) => dashboard.page.locator("#search").fill("ann"));
    await both((dashboard) =>
      dashboard.page.locator("#search-results [data-token-id]").first().waitFor(),
    );
    await collect();
    await both((dashboard) => dashboard.page.locator("#search").fill("nobody at all"));
    await collect();
    await both((dashboard) => dashboard.page.locator("#search").press("Escape"));
    await both((dashboard) => dashboard.open(id));
    await both((dashboard) =>
      dashboard.page.locator("#timeline > li[data-lease-id]").first().waitFor(),
    );
    await collect();
    await both((dashboard) => dashboard.page.keyboard.press("Escape"));
    await both((dashboard) => dashboard.drawer(null));
    await both((dashboard) => dashboard.page.locator("#clear").click());
    await collect();
    await both((dashboard) => dashboard.page.locator("#clear-cancel").click());
    await both((dashboard) => dashboard.page.locator("#pause").click());
    await both((dashboard) => dashboard.allocate("ann"));
    await both((dashboard) => dashboard.reads("#allocate-result", /\S/));
    await collect();
    await both(async (dashboard) => dashboard.expect(/ERR_/));
    await server.end("SIGKILL");
    await both((dashboard) => dashboard.state("lost"));
    await both((dashboard) => dashboard.allocate("bob"));
    await both((dashboard) => dashboard.reads("#allocate-error", /\S/, 12_000));
    await collect();

    const same = [...seen[0]].filter((text) => seen[1].has(text) && !alike.test(text));
    assert.ok(seen[0].size > 40, `looked at ${seen[0].size} texts`);
    assert.deepEqual(same, []);
  });

  inBrowser("no width from a phone to a wide screen scrolls sideways", async (stage) => {
    const server = await stage.server("--pool-size=60");
    for (const user of hostile) await server.allocate(user);
    for (let count = 0; count < 30; count += 1) await server.allocate(`someone-${count}`);
    const { id } = (await server.tokens())[0];
    for (const locale of ["en-US", "pt-BR"]) {
      const dashboard = await stage.dashboard(server, { locale });
      const { page } = dashboard;
      for (const width of widths) {
        await page.setViewportSize({ width, height: width < 700 ? 740 : 1000 });
        const fits = async (/** @type {string} */ state) => {
          assert.equal(await dashboard.overflow(), null, `${state}, ${width} wide, ${locale}`);
        };
        await fits("the page");
        await page.locator("#search").fill(hostile[3]);
        await page.locator("#search-results [data-token-id]").first().waitFor();
        await fits("a search");
        await page.locator("#search").press("Escape");
        await page.evaluate((hash) => (location.hash = hash), `#token=${id}`);
        await dashboard.drawer(id);
        await fits("the drawer");
        await dashboard.until(`the drawer, ${width} wide`, holdsItsContents, "#drawer");
        await page.locator("#drawer-close").click();
        await dashboard.drawer(null);
        await page.locator("#clear").click();
        await fits("the dialog");
        await dashboard.until(`the dialog, ${width} wide`, holdsItsContents, "#clear-dialog");
        await page.locator("#clear-cancel").click();
      }
    }
  }, 60);

  inBrowser(
    "the language is the browser's, unless one is chosen, which is remembered",
    async (stage) => {
      const server = await stage.server("--pool-size=3");
      const expected = { "en-GB": "en", "pt-BR": "pt-BR", "pt-PT": "pt-BR", "de-DE": "en" };
      for (const [locale, language] of Object.entries(expected)) {
        const dashboard = await stage.dashboard(server, { locale });
        assert.equal(await dashboard.page.locator("html").getAttribute("lang"), language, locale);
      }
      const dashboard = await stage.dashboard(server, { locale: "en-US" });
      const { page } = dashboard;
      const policy = await dashboard.text("#policy");
      await page.locator("#language").click();
      assert.equal(await page.locator("html").getAttribute("lang"), "pt-BR");
      assert.notEqual(await dashboard.text("#policy"), policy);
      await page.reload();
      await dashboard.live();
      assert.equal(await page.locator("html").getAttribute("lang"), "pt-BR", "is remembered");
    },
  );

  inBrowser(
    "the theme is the system's, unless one is chosen, which is remembered",
    async (stage) => {
      const server = await stage.server("--pool-size=3");
      for (const [system, other] of /** @type {["light" | "dark", string][]} */ ([
        ["light", "dark"],
        ["dark", "light"],
      ])) {
        const dashboard = await stage.dashboard(server, { colorScheme: system });
        const { page } = dashboard;
        const theme = () => page.locator("html").getAttribute("data-theme");
        const brightness = () => page.evaluate(backgroundBrightness);
        assert.equal(await theme(), system);
        const before = await brightness();
        assert.ok(system === "light" ? before > 0.8 : before < 0.2, `${system}: ${before}`);
        await page.locator("#theme").click();
        assert.equal(await theme(), other);
        const after = await brightness();
        assert.ok(other === "light" ? after > 0.8 : after < 0.2, `${other}: ${after}`);
        await page.reload();
        await dashboard.live();
        assert.equal(await theme(), other, "is remembered");
      }
    },
  );

  inBrowser("a user's name is a text, whatever it contains", async (stage) => {
    const server = await stage.server("--pool-size=10");
    const dashboard = await stage.dashboard(server);
    for (const user of hostile) {
      const { token_id: id } = await server.allocate(user);
      await dashboard.shows(id, user);
      const named = async () => (await dashboard.name(id)).includes(user.trim());
      await until(`the cell's name says ${user}`, named);
      await until(`${user} is in the feed`, async () =>
        (await dashboard.feed())[0]?.text.includes(user),
      );
      await dashboard.open(id);
      const holder = await dashboard.page.locator("#drawer-holder").textContent();
      assert.ok(holder?.includes(user), `${holder} is ${user}`);
      await dashboard.page.locator("#timeline > li").first().waitFor();
      await dashboard.page.keyboard.press("Escape");
      await dashboard.drawer(null);
      await dashboard.page.locator("#search").fill(user);
      await dashboard.page.locator(`#search-results [data-token-id="${id}"]`).first().waitFor();
      await dashboard.page.locator("#search").press("Escape");
    }
    await dashboard.page.locator("#allocate-user").fill(hostile[0]);
    await dashboard.page.locator("#allocate-submit").click();
    await dashboard.reads("#allocate-result", /\S/);
    await dashboard.counts({ active: hostile.length + 1 });
    assert.equal(await dashboard.page.evaluate(() => "harmed" in globalThis), false);
    assert.equal(await dashboard.page.locator("#grid img, #events img, #drawer img").count(), 0);
    const directions = await dashboard.page.evaluate(namesAreIsolated);
    assert.deepEqual(directions, [], "marks of direction end with the name");
  });

  inBrowser("who wants less motion gets none", async (stage) => {
    const server = await stage.server("--pool-size=5");
    const dashboard = await stage.dashboard(server, { reducedMotion: "reduce" });
    const { token_id: id } = await server.allocate("ann");
    await dashboard.shows(id, "ann");
    assert.deepEqual(await dashboard.page.evaluate(motions), []);
    await dashboard.open(id);
    assert.deepEqual(await dashboard.page.evaluate(motions), []);
  });
});

// Texts that are the same in both languages, and have to be; "ult" is left of the pool "default".
const alike = /^(Tokens?|token|(\/ · )?TokenManager|ult|Labels|Taints|curl .*)$/;

// What follows runs in the page.

/** From 0 (black) to 1 (white). */
function backgroundBrightness() {
  const canvas = document.createElement("canvas").getContext("2d");
  if (!canvas) return NaN;
  // Through a canvas, since a colour may be written in many ways.
  canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
  return alpha === 255 ? (red + green + blue) / 765 : NaN;
}

/** Whatever is read or heard in words: without numbers, times, ids and names. */
function visibleTexts() {
  /** @type {string[]} */
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (parent?.checkVisibility()) texts.push(walker.currentNode.textContent ?? "");
  }
  for (const element of document.body.querySelectorAll("*")) {
    for (const name of ["aria-label", "title", "placeholder", "alt"]) {
      texts.push(element.getAttribute(name) ?? "");
    }
  }
  texts.push(document.title);
  return texts
    .map((text) => text.replace(/[0-9a-f]{4,}(-[0-9a-f]+)*|\b(ann|bob|cid)\b|\d+/g, " "))
    .map((text) => text.replace(/\s+/g, " ").trim())
    .filter((text) => /\p{Letter}{2,}/u.test(text));
}

/** @param {string} selector */
function holdsItsContents(selector) {
  const dialog = /** @type {HTMLElement} */ (document.querySelector(selector));
  const { left, right } = dialog.getBoundingClientRect();
  const inside = left >= -0.5 && right <= document.documentElement.clientWidth + 0.5;
  return inside && dialog.scrollWidth <= dialog.clientWidth;
}

/** Elements that show a name to the eye, yet let its marks of direction out. */
function namesAreIsolated() {
  const leaves = [...document.querySelectorAll("#grid *, #events *, #drawer *")];
  return leaves
    .filter((leaf) => leaf.childElementCount === 0 && leaf.textContent?.includes("\u202e"))
    .filter((leaf) => leaf.clientWidth !== 1)
    .filter((leaf) => !/isolate|plaintext/.test(getComputedStyle(leaf).unicodeBidi))
    .map((leaf) => leaf.outerHTML);
}

/** What moves, or would. */
function motions() {
  const running = document.getAnimations().map((animation) => {
    const effect = /** @type {KeyframeEffect} */ (animation.effect);
    const { duration = 0 } = effect.getComputedTiming();
    const { target, pseudoElement } = effect;
    const name = `#${target?.id} .${target?.className} ${pseudoElement ?? ""}`;
    return Number(duration) > 10 ? `animation of ${duration} ms: ${name}` : "";
  });
  const declared = [...document.querySelectorAll("*")].map((element) => {
    const { transitionDuration, animationName, animationDuration } = getComputedStyle(element);
    const long = (/** @type {string} */ times) =>
      times.split(",").some((time) => parseFloat(time) > 0.01);
    const moves = long(transitionDuration) || (animationName !== "none" && long(animationDuration));
    return moves ? `${element.tagName} #${element.id} .${element.className}` : "";
  });
  return [...running, ...declared].filter((one) => one !== "");
}
