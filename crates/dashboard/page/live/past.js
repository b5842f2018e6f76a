// @ts-check
import { BUCKETS, STEP } from "./series.js";
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./shape.js").PastLease} PastLease */
/** @typedef {import("./shape.js").Happening} Happening */

/** Maximum numbers of pages of a thousand leases: recently begun ones, and older ones. */
const LATE_PAGES = 6;
const EARLY_PAGES = 11;

/**
 * Reads the last ten minutes from the history: all leases that ran or began since then. If these
 * need more pages than allowed, it reads less than ten minutes.
 * @param {Pick<Api, "leases">} api
 * @param {number} now
 * @returns {Promise<{ leases: PastLease[], since: number }>}
 */
export async function readPast(api, now) {
  let since = (Math.floor(now / STEP) - BUCKETS + 1) * STEP;
  const late = await pages(api, { from: new Date(since).toISOString() }, LATE_PAGES);
  if (!late.whole) {
    // The newest come first, so the bucket of the oldest lease read may lack some.
    const oldest = late.leases.at(-1)?.startedAt ?? now;
    since = (Math.floor(oldest / STEP) + 1) * STEP;
  }
  // Leases begun before `since` may have ended after it.
  const early = await pages(api, { at: new Date(since).toISOString() }, EARLY_PAGES);
  if (!early.whole) since = now;
  return { leases: [...late.leases, ...early.leases], since };
}

/**
 * @param {Pick<Api, "leases">} api
 * @param {Record<string, string>} query
 * @param {number} most
 */
async function pages(api, query, most) {
  /** @type {PastLease[]} */
  const leases = [];
  /** @type {string | undefined} */
  let next;
  for (let page = 0; page < most; page += 1) {
    const answer = await api.leases(query, next);
    leases.push(...answer.leases);
    next = answer.next;
    if (next === undefined) return { leases, whole: true };
  }
  return { leases, whole: false };
}

/**
 * Starts and ends of leases from the history, in the form of events, oldest first.
 * @param {readonly PastLease[]} leases
 * @param {number} since
 * @param {number} most
 * @returns {Happening[]}
 */
export function happeningsOf(leases, since, most) {
  /** @type {Map<string, Happening>} */
  const found = new Map();
  for (const { endedAt, reason, evictedBy, by, endedBy, ...lease } of leases) {
    const common = { ...lease, position: -1, evicted: null };
    if (lease.startedAt >= since) {
      found.set(`started ${lease.fence}`,
        { ...common, kind: "started", at: lease.startedAt, reason: null, evictedBy: null });
    }
    if (endedAt !== null && endedAt >= since) {
      found.set(`ended ${lease.fence}`,
        { ...common, kind: "ended", at: endedAt, reason, evictedBy });
    }
  }
  // The end of an evicted lease comes before the start of its successor, at the same moment.
  const order = (/** @type {Happening} */ a, /** @type {Happening} */ b) =>
    a.at - b.at || Number(a.kind === "started") - Number(b.kind === "started");
  return [...found.values()].sort(order).slice(-most);
}
