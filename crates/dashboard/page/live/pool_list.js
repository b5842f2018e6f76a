// @ts-check
// All pools with their counts: rows of GET /api/pools, moved on by events. Times are milliseconds.

/** @typedef {import("./shape.js").Policy} Policy */

/**
 * @typedef {{ name: string, description: string, size: number, active: number, available: number,
 *   tainted: number, retiring: number, waiting: number, deadline: number | null, isPast: boolean,
 *   policy: Policy, version: number }} PoolRow a pool; its deadline is the next one of its leases
 *   and taints, or null. If it is past, the next one is not known yet, but not earlier. The counts
 *   are as of `version` of the journal, and of the events since then
 */

/** @typedef {{ kind: string, data: any, version: number }} Told an event with the version of its
 * journal entry */

/** @typedef {{ pools: any[], next: string | null, epoch: number, version: number }} Page an answer
 * of GET /api/pools */

/** Largest error of the page's clock in milliseconds: it knows the server's time at least to the second. */
const CLOCK_ERROR = 1000;

/** @param {any} row of GET /api/pools @param {number} version @returns {PoolRow} */
function rowOf(row, version) {
  const { name, description, size, active, available, tainted, retiring, waiting, policy } = row;
  const deadline = row.next_deadline === null ? null : Date.parse(row.next_deadline);
  return { name, description, size, active, available, tainted, retiring, waiting, deadline,
    isPast: false, policy, version };
}

/**
 * The list of pools. A page of the answer is exact as of its version, and an event counts for a
 * pool if its version is later. So pages and events may arrive in any order.
 *
 * Events lack the waiting requests, and the next deadline after one that has passed. A pool with such
 * a gap is doubtful until it is read again.
 */
export class PoolList {
  /** @type {Map<string, PoolRow>} by name, in no order */
  rows = new Map();
  /** Changes with every change of the list. */
  revision = 0;
  /** Changes when a pool appears or leaves, or its description changes. */
  members = 0;
  /** Names of pools to read again. @type {Set<string>} */
  doubts = new Set();
  /** Events since a page was requested. @type {Told[] | null} */
  #kept = null;

  /** Remembers events from now on, for a page that is requested now. */
  expect() {
    this.#kept = [];
  }

  /** Forgets the events remembered for a page that did not arrive. */
  giveUp() {
    this.#kept = null;
  }

  /**
   * Replaces the pools of a page: those whose names come after `after`, up to its last one.
   * @param {string} after
   * @param {Page} page
   */
  read(after, { pools, next, version }) {
    const last = next === null ? null : pools[pools.length - 1]?.name ?? null;
    const isOn = (/** @type {string} */ name) => name > after && (last === null || name <= last);
    /** @type {Map<string, PoolRow>} */
    const read = new Map(pools.map((row) => [row.name, rowOf(row, version)]));
    for (const [name, { description }] of this.rows) {
      if (!isOn(name)) continue;
      const row = read.get(name);
      if (row?.description !== description) this.members += 1;
      if (row === undefined) this.rows.delete(name);
    }
    for (const name of [...this.doubts]) if (isOn(name)) this.doubts.delete(name);
    for (const [name, row] of read) {
      if (!this.rows.has(name)) this.members += 1;
      this.rows.set(name, row);
    }
    const kept = this.#kept ?? [];
    this.#kept = null;
    for (const event of kept) if (isOn(event.data.pool)) this.#change(event);
    this.revision += 1;
  }

  /** Forgets all pools, as those of another database. */
  clear() {
    this.rows.clear();
    this.doubts.clear();
    this.revision += 1;
    this.members += 1;
  }

  /** The name after which a page has to begin to contain this pool. @param {string} name */
  before(name) {
    let best = "";
    for (const other of this.rows.keys()) if (other < name && other > best) best = other;
    return best;
  }

  /** @param {Told} told */
  apply(told) {
    this.#kept?.push(told);
    this.#change(told);
  }

  /** @param {Told} told */
  #change({ kind, data, version }) {
    const row = this.rows.get(data.pool);
    if (row !== undefined && version <= row.version) return;
    this.revision += 1;
    if (kind === "pool.created" || kind === "pool.changed") return this.#define(row, data, version);
    if (row === undefined) return;
    if (kind === "pool.deleted") {
      this.members += 1;
      this.rows.delete(row.name);
      this.doubts.delete(row.name);
    } else if (kind.startsWith("token.")) {
      changeTokens(row, kind);
      this.doubts.add(row.name);
    } else if (changeLeases(row, kind, data)) {
      this.doubts.add(row.name);
    }
  }

  /** @param {PoolRow | undefined} row @param {any} data @param {number} version */
  #define(row, { pool: name, description, policy }, version) {
    this.members += 1;
    if (row) Object.assign(row, { description, policy });
    else {
      // Further events of the same entry add its tokens.
      this.rows.set(name, { name, description, policy, size: 0, active: 0, available: 0, tainted: 0,
        retiring: 0, waiting: 0, deadline: null, isPast: false, version: version - 1 });
    }
    this.doubts.add(name);
  }

  /** The sums over all pools. */
  totals() {
    const sums = { pools: this.rows.size, size: 0, active: 0, available: 0, tainted: 0, waiting: 0 };
    for (const row of this.rows.values()) {
      sums.size += row.size;
      sums.active += row.active;
      sums.available += row.available;
      sums.tainted += row.tainted;
      sums.waiting += row.waiting;
    }
    return sums;
  }
}

/** @param {PoolRow} row @param {string} kind */
function changeTokens(row, kind) {
  if (kind === "token.added") {
    row.size += 1;
    row.available += 1;
  } else if (kind === "token.retired" && row.available > 0) {
    // If it has a lease it stays, and the next reading says so.
    row.size -= 1;
    row.available -= 1;
  }
}

/**
 * @param {PoolRow} row @param {string} kind @param {any} data
 * @returns {boolean} whether the row may now differ from the server's
 */
function changeLeases(row, kind, data) {
  const deadline = Date.parse(data.expires_at);
  if (kind === "started") {
    row.active += 1;
    row.available = Math.max(0, row.available - 1);
    if (row.deadline === null || deadline <= row.deadline) setDeadline(row, deadline);
    // The lease may be that of a waiting request.
    return row.waiting > 0;
  }
  if (kind === "renewed") {
    if (row.active === 1 && row.tainted === 0) setDeadline(row, deadline);
    return true;
  }
  row.active = Math.max(0, row.active - 1);
  if (data.reason === "drained") row.tainted += 1;
  else row.available = Math.min(row.available + 1, row.size - row.active);
  const wasNext = row.deadline !== null && deadline <= row.deadline;
  if (row.active === 0 && row.tainted === 0) setDeadline(row, null);
  else row.isPast ||= wasNext;
  return wasNext || row.retiring > 0 || row.tainted > 0 || row.waiting > 0;
}

/** @param {PoolRow} row @param {number | null} deadline */
function setDeadline(row, deadline) {
  row.deadline = deadline;
  row.isPast = false;
}

/**
 * Time left until a pool's next deadline in milliseconds; null while that deadline is unknown.
 * @param {Pick<PoolRow, "deadline" | "isPast" | "policy">} row
 * @param {number} now
 */
export function timeLeft({ deadline, isPast, policy }, now) {
  if (deadline === null || isPast || deadline <= now) return null;
  const [left, lease] = [deadline - now, policy.lease_seconds * 1000];
  // Only leases from before a change of the policy have more time left than a lease lasts.
  return left > lease && left <= lease + CLOCK_ERROR ? lease : left;
}
