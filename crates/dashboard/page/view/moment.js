// @ts-check
/** @typedef {import("../live/live.js").Live} Live */

/**
 * The time as of which the pool is shown. It stands still without a connection: a lease whose
 * deadline passes in the meantime may have been renewed, or its token granted again.
 * @param {Pick<Live, "clock" | "state" | "currentAt">} live
 */
export function shownTime(live) {
  const now = live.clock.now();
  return live.state === "lost" ? now - (performance.now() - live.currentAt) : now;
}

/**
 * Remaining time of a lease as a fraction of the pool's lease time, from 1 to 0, so that the bars
 * of all tokens are comparable, also those of shorter leases.
 * @param {Live} live
 * @param {{ startedAt: number, expiresAt: number }} lease
 * @param {number} now
 */
export function fractionLeft(live, lease, now) {
  const whole = live.info ? live.info.policy.lease_seconds * 1000
    : lease.expiresAt - lease.startedAt;
  return Math.min(1, Math.max(0, (lease.expiresAt - now) / whole));
}

/** Whether the pool evicts: only this policy does. @param {Live} live */
export const evicts = (live) => live.info?.policy.when_full === "evict-oldest";
