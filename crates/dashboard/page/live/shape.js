// @ts-check
// Answers of the API in the names and units of the page: times are milliseconds since 1970.
// A test of crates/wire compares the members read here with the schemas in backticks, and the words
// with those of the API.

/** @typedef {{ id: string, user: string, userId: string, fence: number, startedAt: number,
 *   expiresAt: number }} Lease */

/** @typedef {{ id: string, value: string, lease: Lease | null, used?: boolean }} Row a token in a
 * list; used if it ever had a lease */

/** @typedef {"released" | "expired" | "evicted" | "cleared" | "imported" | "drained"} Reason */

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
 * }} Happening an event of a lease: id is that of the lease, position that of its token (-1 if
 *   unknown), at the time of the event, evicted the lease that ended for this one
 */

/**
 * @typedef {{ tokenId: string, value: string, lease: Lease, over: boolean,
 *   evicted: { id: string, user: string, userId: string, fence: number, startedAt: number } | null
 * }} Allocation an allocation; over if its lease ended before a repeated request
 */

/** @typedef {{ id: string, user: string, userId: string, position: number, since: number,
 *   until: number }} Ticket a waiting allocation; id is that of the lease that it
 *   becomes. The answer to an allocation has no user */

/**
 * @typedef {{
 *   size: number, active: number, available: number, waiting: number,
 *   oldest_lease: any, epoch: number, version: number,
 *   policy: { when_full: "evict-oldest" | "reject" | "wait", lease_seconds: number,
 *     max_lease_seconds: number, min_hold_seconds: number, max_per_user: number | null },
 * }} Info the answer of GET /api/pool, unchanged: `Pool`, `Policy`
 */

/**
 * @param {any} row `Token`
 * @returns {Row}
 */
export function tokenOf(row) {
  const held = row.status === "active" && typeof row.fence === "number";
  const lease = held ? leaseOf(row, row.activated_at) : null;
  return { id: row.id, value: row.token, lease, used: row.updated_at !== row.inserted_at };
}

/**
 * @param {any} row `Token`, `Allocation`, `Lease`, `HistoryEntry`
 * @param {string} startedAt
 * @returns {Lease}
 */
export function leaseOf(row, startedAt) {
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
 * @param {any} row `HistoryEntry`, `Lease`
 * @returns {PastLease}
 */
export function pastLeaseOf(row) {
  return {
    ...leaseOf(row, row.started_at),
    tokenId: row.token_id,
    endedAt: row.ended_at === null ? null : Date.parse(row.ended_at),
    reason: row.end_reason,
    evictedBy: row.evicted_by,
  };
}

/**
 * @param {any} row `Allocation`
 * @returns {Allocation}
 */
export function allocationOf(row) {
  return {
    tokenId: row.token_id,
    value: row.token_value,
    lease: leaseOf(row, row.activated_at),
    over: row.status === "ended",
    evicted: row.evicted && evictedOf(row.evicted),
  };
}

/** @param {any} row `EvictedLease` */
function evictedOf(row) {
  return {
    id: row.lease_id,
    user: row.user,
    userId: row.user_id,
    fence: row.fence,
    startedAt: Date.parse(row.started_at),
  };
}

/**
 * @param {any} row `Ticket`, `Waiting`
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
 * @param {any} row `LeaseStarted`, `LeaseRenewed`, `LeaseEnded`
 * @param {number} now time of events that have none of their own
 * @returns {Happening}
 */
export function happeningOf(kind, row, now) {
  const startedAt = Date.parse(row.started_at);
  return {
    kind,
    at: kind === "started" ? startedAt : kind === "ended" ? Date.parse(row.ended_at) : now,
    tokenId: row.token_id,
    position: -1,
    reason: row.reason ?? null,
    evicted: row.evicted ?? null,
    evictedBy: row.evicted_by ?? null,
    id: row.lease_id,
    user: row.user,
    userId: row.user_id,
    fence: row.fence,
    startedAt,
    expiresAt: Date.parse(row.expires_at),
  };
}
