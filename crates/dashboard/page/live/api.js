// @ts-check
import { atLeast } from "./backoff.js";
import { clock as pageClock } from "./clock.js";
import { allocationOf, leaseOf, pastLeaseOf, ticketOf, tokenOf } from "./shape.js";
/** @typedef {import("./shape.js").Row} Row */
/** @typedef {import("./shape.js").Info} Info */
/** @typedef {import("./shape.js").PastLease} PastLease */
/** @typedef {import("./shape.js").Allocation} Allocation */
/** @typedef {import("./shape.js").Ticket} Ticket */
/** @typedef {import("./clock.js").Clock} Clock */

const ALLOCATE = "/api/tokens/allocate";

/** Timeout of one request, in milliseconds. */
const PATIENCE = 10_000;
/** Timeout of a request with its repetitions after lost answers. */
const PATIENCE_IN_ALL = 20_000;
/** Pauses before repetitions of an unanswered request, in milliseconds. */
const PAUSES = [300, 1000, 2500];
/** Timeout of the probe of a lost server, in milliseconds. */
const PROBE = 3000;
/** Problem codes that leave the outcome of the request unknown. */
const OPEN_ENDS = new Set(["unreachable", "outcome-unknown", "timed-out", "stopping"]);
/** Problem codes of valid requests that were certainly not executed. */
const NOT_NOW = new Set(["not-sent", "not-done", "busy", "too-many-connections", "too-many-answers"]);

/** Whether the same request, repeated, may succeed. @param {unknown} problem */
export function worthRepeating(problem) {
  if (!(problem instanceof Problem)) return false;
  // Proxies send these statuses on their own, some without a problem document.
  const ofProxy = problem.code === "unexpected" && problem.status >= 502;
  return ofProxy || OPEN_ENDS.has(problem.code) || NOT_NOW.has(problem.code);
}

/** Reason why a request failed. */
export class Problem extends Error {
  /**
   * @param {number} status HTTP status, or 0 without an answer
   * @param {Record<string, any>} members the whole body
   */
  constructor(status, members) {
    super(members.detail ?? members.title ?? `HTTP ${status}`);
    this.name = "Problem";
    this.status = status;
    /** @type {string} "unreachable" or "not-sent" with status 0, "unexpected" without a problem
     * document */
    this.code = members.code ?? "unexpected";
    /** @type {string} */
    this.title = members.title ?? `HTTP ${status}`;
    /** @type {string} */
    this.detail = members.detail ?? "";
    this.members = members;
    /** Milliseconds to wait before a retry, from the server. */
    this.retryAfter = 0;
  }
}

/**
 * @typedef {{ method?: string, body?: unknown, headers?: Record<string, string>,
 *   timeout?: number, limit?: AbortSignal, keepalive?: boolean }} Ask `limit` instead of a timeout
 */

/**
 * Client of the API at the page's origin.
 * @param {{ base?: string, clock?: Clock, fetch?: typeof globalThis.fetch }} [parts]
 */
export function createApi({ base = "", clock = pageClock, fetch = globalThis.fetch } = {}) {
  /** Returns whether the server is known to be reachable. @type {() => boolean} */
  let connected = () => true;

  /**
   * Probes a lost server with a harmless request and sends nothing else until it answers: for a
   * request without an answer, a browser does not tell whether the request arrived.
   */
  async function probe() {
    try {
      await fetch.call(globalThis, `${base}/health/live`, { signal: AbortSignal.timeout(PROBE) });
    } catch {
      throw new Problem(0, { code: "not-sent", title: "The server can't be reached" });
    }
  }

  /**
   * @param {string} path
   * @param {Ask} [ask]
   * @returns {Promise<{ status: number, body: any, next: string | undefined }>}
   */
  async function request(path, ask = {}) {
    const { method = "GET", body, headers = {}, timeout = PATIENCE, keepalive } = ask;
    if (method !== "GET" && !keepalive && !connected()) await probe();
    const sentAt = performance.now();
    let response;
    let text;
    try {
      response = await fetch.call(globalThis, base + path, {
        method,
        headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: ask.limit ?? AbortSignal.timeout(timeout),
        keepalive,
      });
      text = await response.text();
    } catch {
      throw new Problem(0, { code: "unreachable", title: "The server did not answer" });
    }
    const answer = parse(text);
    learn(clock, answer, response.headers.get("date"), sentAt);
    if (!response.ok) {
      const problem = new Problem(response.status, answer ?? {});
      problem.retryAfter = 1000 * (Number(response.headers.get("retry-after")) || 0);
      throw problem;
    }
    if (answer === undefined) throw new Problem(response.status, { title: "No JSON was answered" });
    const { status, headers: answered } = response;
    return { status, body: answer, next: nextOf(answered.get("link")) };
  }

  return {
    /** Sets the function that tells whether the server is reachable. @param {() => boolean} is */
    watch(is) {
      connected = is;
    },

    /**
     * @param {{ timeout?: number }} [ask]
     * @returns {Promise<Info>}
     */
    async pool(ask) {
      return (await request("/api/pool", ask)).body;
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
        const answer = await fetch.call(globalThis, `${base}/api/events`, { signal });
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
      let path = "/api/tokens";
      while (path !== undefined) {
        const { body, next } = await request(path);
        rows.push(...body.map(tokenOf));
        path = next;
      }
      return rows;
    },

    /**
     * Reads the leases of a token, newest first.
     * @param {string} tokenId
     * @param {string} [next] from the page before
     * @returns {Promise<{ rows: PastLease[], next: string | undefined }>}
     */
    async history(tokenId, next) {
      const first = `/api/tokens/${encodeURIComponent(tokenId)}/history?limit=50`;
      const { body } = await request(next ?? first);
      return { rows: body.history.map(pastLeaseOf), next: body.next ?? undefined };
    },

    /**
     * Searches the history. A page may be empty although a next page follows.
     * @param {Record<string, string | number | undefined>} query
     * @param {string} [next] from the page before
     * @returns {Promise<{ leases: PastLease[], next: string | undefined }>}
     */
    async leases(query, next) {
      const { body } = await request(next ?? `/api/leases${queryOf(query)}`);
      return { leases: body.leases.map(pastLeaseOf), next: body.next ?? undefined };
    },

    /**
     * Leases a token to a user. A request whose answer is lost is repeated with the same
     * idempotency key, so it takes no second token.
     * @param {string} user
     * @param {{ leaseSeconds?: number }} [wishes]
     * @returns {Promise<Allocation>}
     */
    async allocate(user, { leaseSeconds } = {}) {
      const headers = { "idempotency-key": freshKey() };
      const body = { user_id: user, lease_seconds: leaseSeconds };
      const ask = { method: "POST", headers, body };
      return allocationOf((await persist((timeout) =>
        request(ALLOCATE, { ...ask, timeout }))).body);
    },

    /**
     * Leases a token to a user, or draws a ticket; repeating the request with its key keeps it.
     * @param {string} user
     * @param {{ leaseSeconds?: number, waitSeconds: number, key: string, hold: number,
     *   limit: AbortSignal }} wishes `hold`: how many seconds this one request may wait
     * @returns {Promise<{ allocation?: Allocation, ticket?: Ticket }>}
     */
    async allocateOrQueue(user, { leaseSeconds, waitSeconds, key, hold, limit }) {
      const headers = { "idempotency-key": key, prefer: `wait=${hold}` };
      const body = { user_id: user, lease_seconds: leaseSeconds, wait_seconds: waitSeconds };
      const answer = await request(ALLOCATE, { method: "POST", headers, body, limit });
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
      return (await request(`/api/queue?limit=${limit}`, ask)).body.tickets.map(ticketOf);
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
      return (await request("/api/tokens/clear-active", { method: "DELETE" })).body.tokens_cleared;
    },
  };
}

/** @typedef {ReturnType<typeof createApi>} Api */

export const api = createApi();

/**
 * @template T
 * @param {(timeout: number) => Promise<T>} attempt
 * @returns {Promise<T>}
 */
async function persist(attempt) {
  const end = performance.now() + PATIENCE_IN_ALL;
  /** The first failure that left the outcome unknown. @type {unknown} */
  let open;
  for (let tries = 0; ; tries += 1) {
    const left = end - performance.now();
    try {
      return await attempt(Math.min(PATIENCE, left));
    } catch (problem) {
      const code = problem instanceof Problem ? problem.code : "";
      if (OPEN_ENDS.has(code)) open ??= problem;
      else if (code !== "not-sent") throw problem;
      const { retryAfter } = /** @type {Problem} */ (problem);
      const pause = atLeast(Math.max(retryAfter, PAUSES[tries] ?? Infinity));
      if (performance.now() + pause >= end) throw open ?? problem;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

/**
 * Learns the server's time from an answer: exactly from a running lease, otherwise to the second.
 * @param {Clock} clock
 * @param {any} answer
 * @param {string | null} date
 * @param {number} sentAt
 */
function learn(clock, answer, date, sentAt) {
  const takenAt = performance.now();
  const lease = answer?.oldest_lease ?? answer?.leases?.find(runs) ?? answer;
  if (runs(lease)) {
    clock.learn(Date.parse(lease.expires_at) - lease.expires_in * 1000, takenAt, sentAt);
  } else if (date !== null) {
    clock.learn(Date.parse(date), takenAt, sentAt, 1000);
  }
}

/** @param {any} lease */
function runs(lease) {
  return lease?.expires_in > 0 && typeof lease.expires_at === "string";
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {string | null} link */
function nextOf(link) {
  return link?.match(/<([^>]*)>;\s*rel="next"/)?.[1];
}

/** @param {Record<string, string | number | undefined>} query */
function queryOf(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  const text = String(parameters);
  return text === "" ? "" : `?${text}`;
}

/** A random key. On plain HTTP from another machine, browsers hide crypto.randomUUID. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
