// @ts-check
import { api as pageApi } from "./api.js";
/** @typedef {import("./api.js").Api} Api */

/** @typedef {{ id: string, pool: string, tokenId: string, tokenName: string, note: string | null,
 *   user: string, userId: string, startedAt: number, expiresAt: number }} MyLease */

/** @typedef {{ lease_seconds: number, max_lease_seconds: number }} Lengths of a pool's policy */

/** Maximum numbers of leases and of pages read. */
export const MOST = 200;
const PAGES = 5;
/** Times in milliseconds: between two readings where events of all pools arrive, and elsewhere;
 * between two checks whether a reading is due. */
const RARELY = 60_000;
const OFTEN = 10_000;
const LOOK = 1000;
/** Shortest time between two readings. */
const SOONEST = 2000;

/**
 * The running leases of the page's user in all pools, kept current by events and by reading them
 * again. It dispatches `leases` when they change.
 *
 * On the page of a pool the events are those of this pool only: browsers open six connections to a
 * host, so a second stream would take one from the requests. There the others are read more often.
 */
export class Mine extends EventTarget {
  /** @type {MyLease[]} the next deadline first */
  leases = [];
  user = "";

  #api;
  #isActive;
  #every;
  #lengthsOf;
  /** Policies of pools that the page does not know otherwise. @type {Map<string, Lengths>} */
  #lengths = new Map();
  /** Events since the leases were requested. @type {[string, MyLease][]} */
  #kept = [];
  #reading = false;
  #readAt = -Infinity;
  #soon = false;

  /**
   * @param {{ api?: Pick<Api, "request">, isActive?: () => boolean, hasAllEvents?: boolean,
   *   lengthsOf?: (pool: string) => Lengths | undefined }} [parts] `isActive`: whether the page is
   *   visible and connected
   */
  constructor({ api = pageApi, isActive, hasAllEvents = false, lengthsOf } = {}) {
    super();
    this.#api = api;
    this.#isActive = isActive ?? (() => true);
    this.#every = hasAllEvents ? RARELY : OFTEN;
    this.#lengthsOf = lengthsOf ?? (() => undefined);
  }

  start() {
    setInterval(() => this.look(), LOOK);
  }

  /** Shows the leases of this user from now on. @param {string} user */
  follow(user) {
    if (user === this.user) return;
    this.user = user;
    this.#set([]);
    this.hurry();
  }

  /** Reads the leases as soon as possible: the page knows that it may lack one. */
  hurry() {
    this.#soon = true;
    this.look();
  }

  /** Reads the leases if that is due. */
  look() {
    if (this.user === "" || this.#reading || !this.#isActive()) return;
    if (performance.now() - this.#readAt < (this.#soon ? SOONEST : this.#every)) return;
    this.#reading = true;
    // A failure waits for the next reading; the page shows the state of the connection elsewhere.
    void this.#read(this.user).catch(() => {}).then(() => {
      this.#reading = false;
      if (this.#soon) this.look();
    });
  }

  /** @param {string} user */
  async #read(user) {
    this.#readAt = performance.now();
    this.#soon = false;
    this.#kept = [];
    const leases = await this.#running(user);
    await this.#learnLengths(leases);
    if (user !== this.user) return void (this.#soon = true);
    const kept = this.#kept;
    this.#kept = [];
    this.#set(leases);
    for (const [kind, lease] of kept) this.apply(kind, lease);
  }

  /** @param {string} user */
  async #running(user) {
    /** @type {MyLease[]} */
    const leases = [];
    const query = new URLSearchParams({ pool: "*", user, status: "running", limit: String(MOST) });
    /** @type {string | null} */
    let path = `/api/leases?${query}`;
    // A page may be empty although a next page follows.
    for (let page = 0; page < PAGES && path !== null && leases.length < MOST; page += 1) {
      const { body } = await this.#api.request(path);
      leases.push(...body.leases.map(leaseOf));
      path = body.next;
    }
    return leases.slice(0, MOST);
  }

  /** @param {MyLease[]} leases */
  async #learnLengths(leases) {
    for (const pool of new Set(leases.map((lease) => lease.pool))) {
      if (this.#lengthsOf(pool) ?? this.#lengths.get(pool)) continue;
      // The pool may have been deleted meanwhile: its leases are shown without it.
      const path = `/api/pools/${encodeURIComponent(pool)}`;
      const answer = await this.#api.request(path).catch(() => undefined);
      if (answer) this.#lengths.set(pool, answer.body.policy);
    }
  }

  /** Lengths of a pool's leases, if known. @param {string} pool */
  lengths(pool) {
    return this.#lengthsOf(pool) ?? this.#lengths.get(pool);
  }

  /**
   * Applies an event of any lease. Late and repeated events are harmless: a lease never runs again,
   * and its deadline only grows.
   * @param {string} kind "started", "renewed" or "ended"
   * @param {MyLease} lease
   */
  apply(kind, lease) {
    if (this.#reading) this.#kept.push([kind, lease]);
    const known = this.leases.find(({ id }) => id === lease.id);
    if (kind === "ended") {
      if (known) this.#set(this.leases.filter((other) => other !== known));
    } else if (known && lease.expiresAt > known.expiresAt) {
      this.renewed(lease.id, lease.expiresAt);
    } else if (!known && this.#isMine(lease)) {
      this.#set([...this.leases, lease]);
      if (!this.lengths(lease.pool)) this.hurry();
    }
  }

  /** Moves a deadline. @param {string} id @param {number} expiresAt */
  renewed(id, expiresAt) {
    this.#set(this.leases.map((lease) => (lease.id === id ? { ...lease, expiresAt } : lease)));
  }

  /** The leases before their deadline. @param {number} now */
  running(now) {
    return this.leases.filter(({ expiresAt }) => expiresAt > now);
  }

  /** @param {MyLease} lease */
  #isMine({ user, userId }) {
    if (this.user === "") return false;
    // Another spelling may be the same user: a UUID, in any letter case.
    return user === this.user || this.leases.some((lease) => lease.userId === userId);
  }

  /** @param {MyLease[]} leases */
  #set(leases) {
    if (leases.length === 0 && this.leases.length === 0) return;
    this.leases = [...leases].sort((a, b) => a.expiresAt - b.expiresAt);
    this.dispatchEvent(new Event("leases"));
  }
}

/** @param {any} row of a search of all pools, or of an event @returns {MyLease} */
export function leaseOf(row) {
  return {
    id: row.lease_id,
    pool: row.pool,
    tokenId: row.token_id,
    tokenName: row.token_name,
    note: row.note ?? null,
    user: row.user,
    userId: row.user_id,
    startedAt: Date.parse(row.started_at),
    expiresAt: Date.parse(row.expires_at),
  };
}
