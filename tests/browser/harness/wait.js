// @ts-check
// Bounded waits: a condition is looked at again and again, and a test that waits in vain says for what.

import { setTimeout as pause } from "node:timers/promises";

/**
 * Looks until `look` gives something truthy, which it returns.
 * @template T
 * @param {string} what for the error
 * @param {() => T | Promise<T>} look
 * @param {number} [milliseconds]
 * @returns {Promise<T>}
 */
export async function until(what, look, milliseconds = 5000) {
  const end = performance.now() + milliseconds;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() > end) throw new Error(`waited ${milliseconds} ms in vain: ${what}`);
    await pause(10);
  }
}

/** @param {number[]} numbers */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
