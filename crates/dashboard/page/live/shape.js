// @ts-check
// Answers of the API in the names and units of the page: times are milliseconds since 1970.
// A test of crates/wire compares the members read here with the schemas in backticks, and the words
// with those of the API.

/** @typedef {{ id: string, user: string, userId: string, fence: number, startedAt: number,
 *   expiresAt: number }} Lease */

/** @typedef {"read" | "use" | "operate" | "admin"} Rights each includes those before it */

/** @typedef {{ via: "key" | "session" | "certificate" | "proxy" | "anonymous", rights: Rights | null, keyId: string | null,
 *   keyName: string | null, pools: string[], users: string[], expiresAt: number | null,
 *   keysExist: boolean }} Who the caller of the page. A `*` at the end of a pool or user means any
 *   characters */

/** @typedef {{ id: string, name: string, rights: Rights, pools: string[], users: string[],
 *   expiresAt: number | null, lastUsedAt: number | null, rotatingUntil: number | null,
 *   maxRequestsPerSecond: number | null, maxLeases: number | null, leases: number, sessions: number
 * }} ApiKey `leases` are the running ones, `sessions` the browsers that are signed in */

/** @typedef {{ number: number, at: number, keyId: string | null, keyName: string | null, action: string,
 *   pool: string | null, subject: string }} AuditEntry */

/** @typedef {{ at: number, address: string, keyId: string | null, method: string, route: string | null,
 *   code: string }} Refusal a request that the server refused because of its caller; route is null for an
 *   unknown path */

/** @typedef {{ name: string, effect: "note" | "no-new-leases" | "end-lease", reason: string,
 *   by: string | null, since: number, until: number | null }} Taint a mark on a token, until a time or
 *   until it is removed */

/** @typedef {"active" | "available" | "tainted"} Status */

/**
 * @typedef {{ id: string, name: string, number: number, value?: string,
 *   labels: Record<string, string>, taints: Taint[], status: Status, retiring: boolean,
 *   lease: Lease | null, note: string | null }} Row a token in a list; `value` if the pool shows it to
 *   everyone, `note` of the running lease
 */

/** @typedef {"released" | "expired" | "evicted" | "cleared" | "imported" | "drained"} Reason */

/** @typedef {Lease & { tokenId: string, endedAt: number | null, reason: Reason | null,
 *   evictedBy: string | null, pool: string, tokenName: string, note: string | null, by: string | null,
 *   endedBy: string | null }} PastLease a lease of the history; endedAt is null while it runs, `by` and
 *   endedBy are ids of API keys */

/**
 * @typedef {Lease & {
 *   kind: "started" | "renewed" | "ended",
 *   at: number,
 *   tokenId: string,
 *   tokenName: string,
 *   position: number,
 *   note: string | null,
 *   reason: Reason | null,
 *   evicted: string | null,
 *   evictedBy: string | null,
 * }} Happening an event of a lease: id is that of the lease, position that of its token (-1 if
 *   unknown), at the time of the event, evicted the lease that ended for this one
 */

/**
 * @typedef {{ tokenId: string, tokenName: string, value: string, lease: Lease, over: boolean,
 *   evicted: { id: string, user: string, userId: string, fence: number, startedAt: number } | null
 * }} Allocation an allocation; over if its lease ended before a repeated request
 */

/** @typedef {{ id: string, user: string, userId: string, position: number, since: number,
 *   until: number, tokenName: string | null, note: string | null }} Ticket a waiting allocation; id is that
 *   of the lease that it becomes, tokenName the only token that will do. The answer to an allocation has
 *   no user */

/** @typedef {{ when_full: "evict-oldest" | "reject" | "wait", lease_seconds: number,
 *   max_lease_seconds: number, min_hold_seconds: number, max_per_user: number | null,
 *   membership: "fixed" | "open", show_values: "everyone" | "holder" }} Policy `PoolPolicy` */

/**
 * @typedef {{
 *   name: string, description: string, size: number, active: number, available: number,
 *   tainted: number, retiring: number, waiting: number, next_deadline: string | null,
 *   created_at: string, oldest_lease: any, epoch: number, version: number,
 *   policy: Policy,
 * }} Info the answer of GET /api/pools/{pool}, unchanged: `PoolStatus`
 */

/**
 * @param {any} row `PoolToken`
 * @returns {Row}
 */
export function tokenOf(row) {
  return {
    id: row.id,
    name: row.name,
    number: row.number,
    value: row.value,
    labels: row.labels,
    taints: row.taints.map(taintOf),
    status: row.status,
    retiring: row.retiring,
    lease: row.lease && leaseOf(row.lease, row.lease.started_at),
    note: row.lease?.note ?? null,
  };
}

/**
 * @param {any} row `Taint`
 * @returns {Taint}
 */
export function taintOf(row) {
  return {
    name: row.name,
    effect: row.effect,
    reason: row.reason,
    by: row.by,
    since: Date.parse(row.since),
    until: row.until === null ? null : Date.parse(row.until),
  };
}

/**
 * @param {any} row `PoolTokenLease`, `PoolAllocation`, `Lease`
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
 * @param {any} row `Lease`
 * @returns {PastLease}
 */
export function pastLeaseOf(row) {
  return {
    ...leaseOf(row, row.started_at),
    tokenId: row.token_id,
    endedAt: row.ended_at === null ? null : Date.parse(row.ended_at),
    reason: row.end_reason,
    evictedBy: row.evicted_by,
    pool: row.pool,
    tokenName: row.token_name,
    note: row.note ?? null,
    by: row.by ?? null,
    endedBy: row.ended_by ?? null,
  };
}

/**
 * @param {any} row `PoolAllocation`
 * @returns {Allocation}
 */
export function allocationOf(row) {
  return {
    tokenId: row.token_id,
    tokenName: row.token_name,
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
    tokenName: row.token_name ?? null,
    note: row.note ?? null,
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
    tokenName: row.token_name ?? row.token_id.slice(0, 8),
    position: -1,
    note: row.note ?? null,
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

/**
 * @param {any} row `Caller`
 * @returns {Who}
 */
export function whoOf(row) {
  return {
    via: row.via,
    rights: row.rights,
    keyId: row.key?.id ?? null,
    keyName: row.key?.name ?? null,
    pools: row.pools,
    users: row.users,
    expiresAt: timeOf(row.expires_at),
    keysExist: row.keys_exist,
  };
}

/**
 * @param {any} row `ApiKey`
 * @returns {ApiKey}
 */
export function apiKeyOf(row) {
  return {
    id: row.id,
    name: row.name,
    rights: row.rights,
    pools: row.pools,
    users: row.users,
    expiresAt: timeOf(row.expires_at),
    lastUsedAt: timeOf(row.last_used_at),
    rotatingUntil: timeOf(row.rotating_until),
    maxRequestsPerSecond: row.max_requests_per_second,
    maxLeases: row.max_leases,
    leases: row.running_leases,
    sessions: row.sessions,
  };
}

/**
 * @param {any} row `AuditEntry`
 * @returns {AuditEntry}
 */
export function auditEntryOf(row) {
  return {
    number: row.number,
    at: Date.parse(row.at),
    keyId: row.key?.id ?? null,
    keyName: row.key?.name ?? null,
    action: row.action,
    pool: row.pool,
    subject: row.subject,
  };
}

/**
 * @param {any} row `Refusal`
 * @returns {Refusal}
 */
export function refusalOf(row) {
  return {
    at: Date.parse(row.at),
    address: row.address,
    keyId: row.key,
    method: row.method,
    route: row.route,
    code: row.code,
  };
}

/** @param {string | null} text */
const timeOf = (text) => (text === null ? null : Date.parse(text));
