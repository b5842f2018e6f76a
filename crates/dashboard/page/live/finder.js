// @ts-check
import { api as pageApi } from "./api.js";
/** @typedef {import("./api.js").Api} Api */

/** @typedef {{ pool: string, tokenId: string, tokenName: string, user: string | null,
 *   note: string | null, expiresAt: number | null }} Hit a token of any pool, with its running lease */

/** @typedef {{ hits: Hit[], searched: number, pools: number }} Found the hits, and in how many of
 * all pools the names of tokens were searched */

/** @typedef {{ name: string, size: number }} PoolSize */

/** Maximum number of hits. */
export const HITS = 24;
/** Maximum number of requests for tokens in a search; the API has no search for names. */
const REQUESTS = 50;
/** Number of tokens on a page: the most that the server sends. */
const PAGE = 1000;
/** Requests at a time: browsers open six connections to a host. */
const AT_A_TIME = 2;
/** How long tokens that were read serve further searches, in milliseconds. */
const FRESH = 15_000;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Searches the tokens and running leases of many pools: by user, by name or label of a token, by
 * note, and by the beginning of an id.
 */
export class Finder {
  #api;
  /** Tokens by pool. @type {Map<string, { at: number, hits: Promise<Row[]> }>} */
  #tokens = new Map();
  #asked = 0;

  /** @param {Pick<Api, "request">} [api] */
  constructor(api = pageApi) {
    this.#api = api;
  }

  /** Forgets the search under way. */
  stop() {
    this.#asked += 1;
  }

  /**
   * Searches, and reports each time that it found more. A later search ends this one.
   * @param {string} query
   * @param {PoolSize[]} pools to search
   * @param {(found: Found) => void} tell
   */
  async find(query, pools, tell) {
    const asked = (this.#asked += 1);
    const names = new Set(pools.map(({ name }) => name));
    /** @type {Map<string, Hit>} by token */
    const hits = new Map();
    let searched = 0;
    const add = (/** @type {Hit[]} */ found) => {
      if (asked !== this.#asked) return;
      for (const hit of found) {
        if (names.has(hit.pool) && hits.size < HITS && !hits.has(hit.tokenId)) {
          hits.set(hit.tokenId, hit);
        }
      }
      tell({ hits: [...hits.values()], searched, pools: pools.length });
    };
    await this.#leases(query).then(add, () => {});
    const waiting = ordered(pools, query.toLowerCase());
    searched = pools.length - waiting.length;
    let requests = 0;
    const work = async () => {
      while (asked === this.#asked && hits.size < HITS) {
        const pool = waiting.shift();
        if (pool === undefined) return;
        const cost = this.#isFresh(pool.name) ? 0 : Math.ceil(pool.size / PAGE);
        if (requests + cost > REQUESTS) continue;
        requests += cost;
        const rows = await this.#rows(pool.name).catch(() => []);
        searched += 1;
        add(rows.filter(({ text }) => fits(text, query.toLowerCase())).map(({ hit }) => hit));
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, work));
  }

  /** Running leases of a user, and those of a whole id. @param {string} query */
  async #leases(query) {
    const user = new URLSearchParams({ pool: "*", user: query, status: "running",
      limit: String(HITS) });
    const { body } = await this.#api.request(`/api/leases?${user}`);
    const hits = body.leases.map(hitOfLease);
    if (!UUID.test(query)) return hits;
    const one = await this.#api.request(`/api/leases/${query}`).catch(() => undefined);
    if (one?.body.status === "active") hits.push(hitOfLease(one.body));
    return hits;
  }

  /** @param {string} pool */
  #isFresh(pool) {
    return performance.now() - (this.#tokens.get(pool)?.at ?? -Infinity) < FRESH;
  }

  /** @param {string} pool */
  #rows(pool) {
    const known = this.#tokens.get(pool);
    if (known && this.#isFresh(pool)) return known.hits;
    const hits = this.#read(pool);
    this.#tokens.set(pool, { at: performance.now(), hits });
    // A failure must not stay.
    hits.catch(() => this.#tokens.delete(pool));
    return hits;
  }

  /** @param {string} pool */
  async #read(pool) {
    /** @type {Row[]} */
    const rows = [];
    /** @type {string | null} */
    let path = `/api/pools/${encodeURIComponent(pool)}/tokens`;
    while (path !== null) {
      /** @type {{ body: any }} */
      const { body } = await this.#api.request(path);
      for (const token of body.tokens) rows.push(rowOf(pool, token));
      path = body.next;
    }
    return rows;
  }
}

/** @typedef {{ hit: Hit, text: { within: string[], ids: string[] } }} Row */

/** @param {string} pool @param {any} token @returns {Row} */
function rowOf(pool, token) {
  const { lease } = token;
  const labels = Object.entries(token.labels).map(([key, value]) => `${key}=${value}`);
  const within = [token.name, ...labels, lease?.user ?? "", lease?.note ?? ""];
  return {
    hit: {
      pool,
      tokenId: token.id,
      tokenName: token.name,
      user: lease?.user ?? null,
      note: lease?.note ?? null,
      expiresAt: lease ? Date.parse(lease.expires_at) : null,
    },
    text: {
      within: within.map((text) => text.toLowerCase()),
      ids: lease ? [token.id, lease.lease_id] : [token.id],
    },
  };
}

/** @param {any} row of a search @returns {Hit} */
const hitOfLease = (row) => ({
  pool: row.pool,
  tokenId: row.token_id,
  tokenName: row.token_name,
  user: row.user,
  note: row.note ?? null,
  expiresAt: Date.parse(row.expires_at),
});

/** @param {Row["text"]} text @param {string} query in lower case */
function fits({ within, ids }, query) {
  return within.some((text) => text.includes(query)) || ids.some((id) => id.startsWith(query));
}

/**
 * The pools with tokens in the order in which they are searched: first those whose name has to do with
 * the query, as "staging" has with "staging-12", then small ones.
 * @param {PoolSize[]} pools
 * @param {string} query
 */
function ordered(pools, query) {
  const isNear = (/** @type {PoolSize} */ { name }) => query.includes(name) || name.includes(query);
  const rank = (/** @type {PoolSize} */ pool) => (isNear(pool) ? 0 : 1);
  return pools.filter(({ size }) => size > 0)
    .sort((a, b) => rank(a) - rank(b) || a.size - b.size);
}
