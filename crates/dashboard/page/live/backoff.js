// @ts-check
// Pauses between attempts. A part of each is random: all pages lose a server at the same moment,
// and must not reconnect at the same moment.

/**
 * The pause before another attempt, in milliseconds: it doubles with each failure.
 * @param {number} failures before this one
 * @param {number} first
 * @param {number} most
 */
export const backoff = (failures, first, most) =>
  Math.min(most, first * 2 ** failures) * between(0.5, 1);

/** Lengthens a minimal pause, such as the server's Retry-After, by a random part of up to half.
 * @param {number} ms */
export const atLeast = (ms) => ms * between(1, 1.5);

/** @param {number} low @param {number} high */
const between = (low, high) => low + (high - low) * Math.random();
