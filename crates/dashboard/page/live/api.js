// @ts-check
import { clock as pageClock } from "./clock.js";
import { createRequest, freshKey, parse, persist, Problem } from "./request.js";
import { allocationOf, leaseOf, pastLeaseOf, ticketOf, tokenOf } from "./shape.js";
import { poolInPath } from "./where.js";
/** @typedef {import("./shape.js").Row} Row */
/** @typedef {import("./shape.js").Info} Info */
/** @typedef {import("./shape.js").PastLease} PastLease */
/** @typedef {import("./shape.js").Allocation} Allocation */
/** @typedef {import("./shape.js").Ticket} Ticket */
/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {{ leaseSeconds?: number, token?: string, note?: string }} Wishes of an allocation:
 * `token` is the name of the only token that will do */

export { freshKey, Problem, worthRepeating } from "./request.js";

/**
 * Client of the API at the page's origin. Methods that name no pool concern `pool`; without one, at `/`,
 * the only pool.
 * @param {{ pool?: string | null, base?: string, clock?: Clock, fetch?: typeof globalThis.fetch }} [parts]
 */
export function createApi({
  pool = poolInPath(), base = "", clock = pageClock, fetch = globalThis.fetch,
} = {}) {
  const { request, watch, onDenied } = createRequest({ base, clock, fetch });
  let name = pool;

  /** The pool's name, which is asked for once. @param {{ timeout?: number }} [ask] */
  async function poolName(ask) {
    if (name === null) {
      const [first] = (await request("/api/pools?limit=1", ask)).body.pools;
      if (!first) throw new Problem(404, { code: "no-pools" });
      name = /** @type {string} */ (first.name);
    }
    return name;
  }

  /** A path below the pool's. @param {string} [rest] @param {{ timeout?: number }} [ask] */
  const below = async (rest = "", ask) =>
    `/api/pools/${encodeURIComponent(await poolName(ask))}${rest}`;

  /**
   * @param {string} user
   * @param {Wishes & { waitSeconds?: number }} wishes
   */
  const allocation = (user, { leaseSeconds, waitSeconds, token, note }) =>
    ({ user, lease_seconds: leaseSeconds, wait_seconds: waitSeconds, token, note });

  return {
    watch,
    onDenied,
    request,
    poolName,

    /** Whether the server has more than one pool. */
    async hasOthers() {
      return (await request("/api/pools?limit=2")).body.pools.length > 1;
    },

    /**
     * The newest entry of the journal.
     * @param {{ timeout?: number }} [ask]
     * @returns {Promise<{ epoch: number, version: number }>}
     */
    async stamp(ask) {
      return (await request("/api/pools?limit=1", ask)).body;
    },

    /**
     * @param {{ timeout?: number }} [ask]
     * @returns {Promise<Info>}
     */
    async pool(ask) {
      return (await request(await below("", ask), ask)).body;
    },

    /**
     * Returns why the server opens no event stream: a problem code, or nothing if it opens one.
     * @param {number} timeout
     * @returns {Promise<string | undefined>}
     */
    async refusal(timeout) {
      const limit = new AbortController();
      const timer = setTimeout(() => limit.abort(), timeout);
      try {
        const { signal } = limit;
        const path = `/api/events?pool=${encodeURIComponent(await poolName({ timeout }))}`;
        const answer = await fetch.call(globalThis, base + path, { signal });
        return answer.ok ? undefined : parse(await answer.text())?.code;
      } catch {
        return undefined;
      } finally {
        clearTimeout(timer);
        limit.abort();
      }
    },

    /**
     * Reads all tokens in the pool's order. Each page may be newer than the previous one.
     * @returns {Promise<Row[]>}
     */
    async tokens() {
      /** @type {Row[]} */
      const rows = [];
      /** @type {string | undefined} */
      let path = await below("/tokens");
      while (path !== undefined) {
        const { body } = /** @type {import("./request.js").Answer} */ (await request(path));
        rows.push(...body.tokens.map(tokenOf));
        path = body.next ?? undefined;
      }
      return rows;
    },

    /**
     * Searches the pool's leases, newest first. A page may be empty although a next page follows.
     * @param {Record<string, string | number | undefined>} query `pool` searches another pool, or all: `*`
     * @param {string} [next] from the page before
     * @returns {Promise<{ leases: PastLease[], next: string | undefined }>}
     */
    async leases(query, next) {
      const path = next ?? `/api/leases${queryOf({ pool: query.pool ?? await poolName(), ...query })}`;
      const { body } = await request(path);
      return { leases: body.leases.map(pastLeaseOf), next: body.next ?? undefined };
    },

    /**
     * Leases a token to a user. A request whose answer is lost is repeated with the same
     * idempotency key, so it takes no second token.
     * @param {string} user
     * @param {Wishes} [wishes]
     * @returns {Promise<Allocation>}
     */
    async allocate(user, wishes = {}) {
      const headers = { "idempotency-key": freshKey() };
      const ask = { method: "POST", headers, body: allocation(user, wishes) };
      const path = await below("/allocate");
      return allocationOf((await persist((timeout) => request(path, { ...ask, timeout }))).body);
    },

    /**
     * Leases a token to a user, or draws a ticket; repeating the request with its key keeps it.
     * @param {string} user
     * @param {Wishes & { waitSeconds: number, key: string, hold: number, limit: AbortSignal }} wishes
     *   `hold`: how many seconds this one request may wait
     * @returns {Promise<{ allocation?: Allocation, ticket?: Ticket }>}
     */
    async allocateOrQueue(user, { key, hold, limit, ...wishes }) {
      const headers = { "idempotency-key": key, prefer: `wait=${hold}` };
      const ask = { method: "POST", headers, body: allocation(user, wishes), limit };
      const answer = await request(await below("/allocate"), ask);
      return answer.status === 202 ? { ticket: ticketOf(answer.body) }
        : { allocation: allocationOf(answer.body) };
    },

    /**
     * Reads the queue, oldest ticket first.
     * @param {number} limit
     * @param {{ timeout?: number }} [ask]
     * @returns {Promise<Ticket[]>}
     */
    async queue(limit, ask) {
      const path = `/api/queue${queryOf({ pool: await poolName(ask), limit })}`;
      return (await request(path, ask)).body.tickets.map(ticketOf);
    },

    /**
     * Withdraws a ticket. It may have lapsed or been withdrawn before.
     * @param {string} ticketId
     * @param {boolean} [leaving] whether the page is being closed, and can't wait for the answer
     * @returns {Promise<string | undefined>} the lease, if the ticket has become one
     */
    async giveUp(ticketId, leaving = false) {
      const path = `/api/queue/${encodeURIComponent(ticketId)}`;
      const ask = { method: "DELETE", keepalive: leaving };
      try {
        await persist((timeout) => request(path, { ...ask, timeout }));
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        if (problem.code === "ticket-served") return problem.members.lease_id;
        if (problem.status !== 404) throw problem;
      }
      return undefined;
    },

    /**
     * Ends exactly this lease. The request is idempotent, so it is repeated if its answer is lost.
     * @param {string} leaseId
     * @returns {Promise<{ id: string, tokenId: string, user: string, endedAt: number }>}
     */
    async releaseLease(leaseId) {
      const path = `/api/leases/${encodeURIComponent(leaseId)}/release`;
      const { body } = await persist((timeout) => request(path, { method: "POST", timeout }));
      const { lease_id: id, token_id: tokenId, user, ended_at: endedAt } = body;
      return { id, tokenId, user, endedAt: Date.parse(endedAt) };
    },

    /** @param {string} leaseId */
    async renew(leaseId) {
      const path = `/api/leases/${encodeURIComponent(leaseId)}/renew`;
      const { body } = await request(path, { method: "POST" });
      return leaseOf(body, body.started_at);
    },

    /**
     * Ends all leases. Never repeated automatically: that would end leases begun in the meantime.
     * @returns {Promise<number>} number of leases ended
     */
    async clear() {
      return (await request(await below("/clear"), { method: "POST" })).body.leases_ended;
    },
  };
}

/** @typedef {ReturnType<typeof createApi>} Api */

export const api = createApi();

/** @param {Record<string, string | number | undefined>} query */
function queryOf(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  const text = String(parameters);
  return text === "" ? "" : `?${text}`;
}
