// @ts-check
// Bounded waits: a condition is checked repeatedly, and a timeout names it.

import { setTimeout as pause } from "node:timers/promises";

/**
 * Calls `look` until it returns something truthy, and returns that.
 * @template T
 * @param {string} what for the error
 * @param {() => T | Promise<T>} look
 * @param {number} [milliseconds]
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(what, look, milliseconds = 20_000) {
  const end = performance.now() + milliseconds;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() > end) throw new Error(`waited ${milliseconds} ms for: ${what}`);
    await pause(10);
  }
}

/** @param {number[]} numbers */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
