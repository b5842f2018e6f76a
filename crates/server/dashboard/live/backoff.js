// @ts-check

/**
 * The pause before another attempt, in milliseconds: it doubles with each failure. Half of it is
 * random, since all pages lose a server at the same moment and must not come back at the same one.
 * @param {number} failures before this one
 * @param {number} first
 * @param {number} most
 */
export function backoff(failures, first, most) {
  return jitter(Math.min(most, first * 2 ** failures));
}

/** @param {number} ms @returns {number} at least half of it */
export const jitter = (ms) => ms * (0.5 + 0.5 * Math.random());
