// @ts-check
/** @typedef {import("./shape.js").Lease} Lease */
/** @typedef {import("./shape.js").PastLease} PastLease */
/** @typedef {import("./shape.js").Happening} Happening */

/** @typedef {{ at: number, active: number, allocations: number, expiries: number,
 *   evictions: number, waiting: number | null }} Bucket counts from `at` on; `active` as of the end,
 *   `waiting` the most requests in the queue, null before the first count */

/** Length of a bucket in milliseconds, and number of buckets: ten minutes. */
export const STEP = 2000;
export const BUCKETS = 300;
/** How long after a load the stream may repeat events that the load had, in milliseconds. */
const OVERLAP = 60_000;

/** Counts of recent events: filled from the history, and then by the stream. */
export class Series {
  /** Start of the known time. */
  since = Infinity;
  revision = 0;
  #starts = new Int32Array(BUCKETS);
  #ends = new Int32Array(BUCKETS);
  #expiries = new Int32Array(BUCKETS);
  #evictions = new Int32Array(BUCKETS);
  /** Number of the newest bucket, counted from 1970. */
  #newest = 0;
  /** Contents of the loaded history: leases begun up to this fence, and these ended ones. */
  #fence = 0;
  /** @type {Set<number>} */
  #ended = new Set();
  #loadedAt = -Infinity;
  /** @type {Happening[] | null} events that came while the history was being read */
  #meanwhile = null;
  /** Lengths of the queue, each from a time on. The history has none.
   * @type {{ at: number, count: number }[]} */
  #waits = [];

  /** Keeps events from now on: the history being read may not have them. */
  expect() {
    this.#meanwhile = [];
  }

  /**
   * Records the length of the queue.
   * @param {number} count
   * @param {number} now
   */
  wait(count, now) {
    const waits = this.#waits;
    // The last count before the ten minutes is that of their beginning.
    while (waits.length > 1 && waits[1].at <= now - BUCKETS * STEP) waits.shift();
    if (waits.at(-1)?.count === count) return;
    waits.push({ at: Math.max(now, waits.at(-1)?.at ?? now), count });
    this.revision += 1;
  }

  /** The history can't be read: the counts of the events remain. */
  giveUp() {
    this.#meanwhile = null;
  }

  /**
   * Starts again from the history.
   * @param {readonly PastLease[]} leases all that ran or began from `since` on
   * @param {number} since
   * @param {number} now
   */
  load(leases, since, now) {
    const meanwhile = this.#meanwhile ?? [];
    this.#meanwhile = null;
    this.#newest = 0;
    this.#advance(Math.floor(now / STEP));
    this.since = since;
    this.#fence = 0;
    this.#ended.clear();
    this.#loadedAt = now;
    // A lease may be listed twice; its fence is counted once.
    const seen = new Set();
    for (const lease of leases) {
      if (seen.has(lease.fence)) continue;
      seen.add(lease.fence);
      this.#fence = Math.max(this.#fence, lease.fence);
      this.#count(this.#starts, lease.startedAt);
      if (lease.endedAt === null) continue;
      this.#ended.add(lease.fence);
      this.#end(lease.reason, lease.endedAt);
    }
    for (const event of meanwhile) this.apply(event);
    this.revision += 1;
  }

  /**
   * @param {Happening} event
   * @returns {boolean} whether it is new: false if the history had it already
   */
  apply(event) {
    this.#meanwhile?.push(event);
    if (event.kind === "renewed") return true;
    if (event.at > this.#loadedAt + OVERLAP) this.#ended.clear();
    if (event.kind === "started") {
      if (event.fence <= this.#fence) return false;
      this.#count(this.#starts, event.at);
    } else {
      if (this.#ended.has(event.fence)) return false;
      this.#end(event.reason, event.at);
    }
    this.since = Math.min(this.since, event.at);
    this.revision += 1;
    return true;
  }

  /**
   * The buckets of the last ten minutes, oldest first, as far back as known. The number of leases
   * active in each follows from the number now.
   * @param {number} now
   * @param {number} active how many leases run now
   * @param {readonly Lease[]} [overdue] leases past their deadline without an end event
   * @returns {Bucket[]}
   */
  buckets(now, active, overdue = []) {
    this.#advance(Math.floor(now / STEP));
    const lapsed = new Int32Array(BUCKETS);
    for (const lease of overdue) this.#count(lapsed, lease.expiresAt);
    const first = Math.max(this.#newest - BUCKETS + 1, Math.floor(this.since / STEP));
    const buckets = [];
    let running = active;
    for (let number = this.#newest; number >= first; number -= 1) {
      const slot = number % BUCKETS;
      buckets.push({
        at: number * STEP,
        active: Math.max(0, running),
        allocations: this.#starts[slot],
        expiries: this.#expiries[slot] + lapsed[slot],
        evictions: this.#evictions[slot],
        waiting: null,
      });
      running += this.#ends[slot] + lapsed[slot] - this.#starts[slot];
    }
    return this.#withWaits(buckets.reverse());
  }

  /** @param {Bucket[]} buckets oldest first */
  #withWaits(buckets) {
    let next = 0;
    /** @type {number | null} */
    let count = null;
    for (const bucket of buckets) {
      let most = count;
      for (; this.#waits[next]?.at < bucket.at + STEP; next += 1) {
        ({ count } = this.#waits[next]);
        most = this.#waits[next].at < bucket.at ? count : Math.max(most ?? 0, count);
      }
      bucket.waiting = most;
    }
    return buckets;
  }

  /**
   * @param {string | null} reason
   * @param {number} at
   */
  #end(reason, at) {
    this.#count(this.#ends, at);
    if (reason === "expired") this.#count(this.#expiries, at);
    if (reason === "evicted") this.#count(this.#evictions, at);
  }

  /**
   * @param {Int32Array} counts
   * @param {number} at
   */
  #count(counts, at) {
    const number = Math.floor(at / STEP);
    this.#advance(number);
    if (number > this.#newest - BUCKETS) counts[number % BUCKETS] += 1;
  }

  /**
   * Empties the buckets that are reused for the time up to this number.
   * @param {number} number
   */
  #advance(number) {
    const from = Math.max(this.#newest, number - BUCKETS) + 1;
    for (let fresh = from; fresh <= number; fresh += 1) {
      const slot = fresh % BUCKETS;
      this.#starts[slot] = 0;
      this.#ends[slot] = 0;
      this.#expiries[slot] = 0;
      this.#evictions[slot] = 0;
    }
    this.#newest = Math.max(this.#newest, number);
  }
}
