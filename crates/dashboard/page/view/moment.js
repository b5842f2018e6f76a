// @ts-check
/** @typedef {import("../live/live.js").Live} Live */

/**
 * The time as of which the pool is shown. While the pool can't be followed it stands still: a
 * lease whose deadline passes in the meantime may have been renewed, or its token handed on.
 * @param {Live} live
 */
export function shownTime(live) {
  const now = live.clock.now();
  return live.state === "lost" ? now - (performance.now() - live.currentAt) : now;
}

/**
 * How much is left of the time for which leases are given out, from 1 to 0: so the bars of all
 * tokens can be compared, also of those who asked for less.
 * @param {Live} live
 * @param {{ startedAt: number, expiresAt: number }} lease
 * @param {number} now
 */
export function fractionLeft(live, lease, now) {
  const whole = live.info ? live.info.policy.lease_seconds * 1000
    : lease.expiresAt - lease.startedAt;
  return Math.min(1, Math.max(0, (lease.expiresAt - now) / whole));
}

/** Only this policy takes tokens back. @param {Live} live */
export const evicts = (live) => live.info?.policy.when_full === "evict-oldest";
