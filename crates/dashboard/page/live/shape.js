// @ts-check
// What the API answers, in the words and units of the page: times in milliseconds since 1970.

/** @typedef {{ id: string, user: string, userId: string, fence: number, startedAt: number,
 *   expiresAt: number }} Lease */

/** @typedef {{ id: string, value: string, lease: Lease | null, used?: boolean }} Row a token as the
 * API lists it; `used` when it ever had a lease */

/** @typedef {"released" | "expired" | "evicted" | "cleared" | "imported"} Reason */

/** @typedef {Lease & { tokenId: string, endedAt: number | null, reason: Reason | null,
 *   evictedBy: string | null }} PastLease a lease of the history; endedAt is null while it runs */

/**
 * @typedef {Lease & {
 *   kind: "started" | "renewed" | "ended",
 *   at: number,
 *   tokenId: string,
 *   position: number,
 *   reason: Reason | null,
 *   evicted: string | null,
 *   evictedBy: string | null,
 * }} Happening what happened to a lease: `id` is the lease's, `position` its token's (-1 when it is
 *   not known), `at` when it happened, `evicted` the lease that ended for this one
 */

/**
 * @typedef {{ tokenId: string, value: string, lease: Lease, over: boolean,
 *   evicted: { id: string, user: string, userId: string, fence: number, startedAt: number } | null
 * }} Allocation what was allocated; `over` when a repeated request found its lease ended meanwhile
 */

/** @typedef {{ id: string, user: string, userId: string, position: number, since: number,
 *   until: number }} Ticket a place in the queue; `id` is that of the lease that it will become, and
 *   `position` is 1 for the first. What is drawn by an allocation has no user */

/**
 * @typedef {{
 *   size: number, active: number, available: number, waiting: number,
 *   oldest_lease: any, epoch: number, version: number,
 *   policy: { when_full: "evict-oldest" | "reject" | "wait", lease_seconds: number,
 *     max_lease_seconds: number, min_hold_seconds: number, max_per_user: number | null },
 * }} Info the answer of GET /api/pool, as it is
 */

/**
 * @param {any} row
 * @returns {Row}
 */
export function tokenOf(row) {
  const held = row.status === "active" && typeof row.fence === "number";
  const lease = held ? leaseOf(row, row.activated_at) : null;
  return { id: row.id, value: row.token, lease, used: row.updated_at !== row.inserted_at };
}

/**
 * @param {any} row
 * @param {string} [startedAt]
 * @returns {Lease}
 */
export function leaseOf(row, startedAt = row.started_at) {
  return {
    id: row.lease_id,
    user: row.user,
    userId: row.user_id,
    fence: row.fence,
    startedAt: Date.parse(startedAt),
    expiresAt: Date.parse(row.expires_at),
  };
}

/**
 * @param {any} row of a token's history or of the search
 * @returns {PastLease}
 */
export function pastLeaseOf(row) {
  return {
    ...leaseOf(row),
    tokenId: row.token_id,
    endedAt: row.ended_at === null ? null : Date.parse(row.ended_at),
    reason: row.end_reason,
    evictedBy: row.evicted_by,
  };
}

/**
 * @param {any} row
 * @returns {Allocation}
 */
export function allocationOf(row) {
  const { evicted } = row;
  return {
    tokenId: row.token_id,
    value: row.token_value,
    lease: leaseOf(row, row.activated_at),
    over: row.status === "ended",
    evicted: evicted && {
      id: evicted.lease_id,
      user: evicted.user,
      userId: evicted.user_id,
      fence: evicted.fence,
      startedAt: Date.parse(evicted.started_at),
    },
  };
}

/**
 * @param {any} row of the queue, or the answer to an allocation that waits
 * @returns {Ticket}
 */
export function ticketOf(row) {
  return {
    id: row.ticket,
    user: row.user ?? "",
    userId: row.user_id ?? "",
    position: row.position,
    since: Date.parse(row.since),
    until: Date.parse(row.until),
  };
}

/**
 * @param {Happening["kind"]} kind
 * @param {any} told an event's data
 * @param {number} now used for what bears no time of its own
 * @returns {Happening}
 */
export function happeningOf(kind, told, now) {
  const startedAt = Date.parse(told.started_at);
  return {
    kind,
    at: kind === "started" ? startedAt : kind === "ended" ? Date.parse(told.ended_at) : now,
    tokenId: told.token_id,
    position: -1,
    reason: told.reason ?? null,
    evicted: told.evicted ?? null,
    evictedBy: told.evicted_by ?? null,
    id: told.lease_id,
    user: told.user,
    userId: told.user_id,
    fence: told.fence,
    startedAt,
    expiresAt: Date.parse(told.expires_at),
  };
}
