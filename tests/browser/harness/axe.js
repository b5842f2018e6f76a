// @ts-check
// The rules of accessibility that a program can check.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** @typedef {import("./dashboard.js").Dashboard} Dashboard */

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/**
 * Fails for each rule that the page violates as it is now.
 * @param {Dashboard} dashboard
 * @param {string} state
 */
export async function violates(dashboard, state) {
  const { page } = dashboard;
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  // Colours in transition have no final contrast.
  await page.evaluate(animationsDone);
  const found = await page.evaluate(async (values) => {
    const { violations } = await /** @type {any} */ (globalThis).axe.run(document, {
      runOnly: { type: "tag", values },
      resultTypes: ["violations"],
    });
    return violations.map((/** @type {any} */ { id, nodes }) => {
      const [{ html, failureSummary }] = nodes;
      return `${id}, ${nodes.length} times, as in ${html}: ${failureSummary}`;
    });
  }, rules);
  assert.equal(found.join("\n"), "", state);
}

// What follows runs in the page.

async function animationsDone() {
  const finite = document.getAnimations().filter((animation) => {
    const { endTime = 0 } = animation.effect?.getComputedTiming() ?? {};
    return Number.isFinite(Number(endTime));
  });
  await Promise.all(finite.map((animation) => animation.finished.catch(() => undefined)));
}
