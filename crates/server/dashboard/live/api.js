// @ts-check
import { clock as pageClock } from "./clock.js";
import { allocationOf, leaseOf, pastLeaseOf, tokenOf } from "./shape.js";
/** @typedef {import("./shape.js").Row} Row */
/** @typedef {import("./shape.js").Info} Info */
/** @typedef {import("./shape.js").PastLease} PastLease */
/** @typedef {import("./clock.js").Clock} Clock */

/** How long an answer may take, in milliseconds. */
const PATIENCE = 10_000;
/** How long it may take in all where a lost answer is asked for again. */
const PATIENCE_IN_ALL = 20_000;
/** How much longer than its wait an allocation may take: the server needs some time, too. */
const SPARE = 15_000;
/** The pauses before an allocation whose answer was lost is asked for again, in milliseconds. */
const PAUSES = [300, 1000, 2500];
/** Answers after which it is not known whether the lease was granted. */
const OPEN_ENDS = new Set(["unreachable", "outcome-unknown", "timed-out", "stopping"]);

/** Why a request was not done. */
export class Problem extends Error {
  /**
   * @param {number} status HTTP status, 0 when the server could not be reached
   * @param {Record<string, any>} members the whole body
   */
  constructor(status, members) {
    super(members.detail ?? members.title ?? `HTTP ${status}`);
    this.name = "Problem";
    this.status = status;
    /** @type {string} "unreachable" with status 0, "unexpected" where no problem document came */
    this.code = members.code ?? "unexpected";
    /** @type {string} */
    this.title = members.title ?? `HTTP ${status}`;
    /** @type {string} */
    this.detail = members.detail ?? "";
    this.members = members;
  }
}

/**
 * @typedef {{ method?: string, body?: unknown, headers?: Record<string, string>,
 *   timeout?: number, signal?: AbortSignal }} Ask
 */

/**
 * The API of the origin that the page came from.
 * @param {{ base?: string, clock?: Clock, fetch?: typeof globalThis.fetch }} [parts]
 */
export function createApi({ base = "", clock = pageClock, fetch = globalThis.fetch } = {}) {
  /**
   * @param {string} path
   * @param {Ask} [ask]
   * @returns {Promise<{ body: any, next: string | undefined }>}
   */
  async function request(path, { method = "GET", body, headers = {}, timeout, signal } = {}) {
    const limit = AbortSignal.timeout(timeout ?? PATIENCE);
    const sentAt = performance.now();
    let response;
    let text;
    try {
      response = await fetch.call(globalThis, base + path, {
        method,
        headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: signal === undefined ? limit : either(signal, limit),
      });
      text = await response.text();
    } catch (cause) {
      if (signal?.aborted) throw cause;
      throw new Problem(0, { code: "unreachable", title: "The server did not answer" });
    }
    const answer = parse(text);
    learn(clock, answer, response.headers.get("date"), sentAt);
    if (!response.ok) throw new Problem(response.status, answer ?? {});
    if (answer === undefined) throw new Problem(response.status, { title: "No JSON was answered" });
    return { body: answer, next: nextOf(response.headers.get("link")) };
  }

  return {
    /**
     * @param {{ timeout?: number }} [ask]
     * @returns {Promise<Info>}
     */
    async pool(ask) {
      return (await request("/api/pool", ask)).body;
    },

    /**
     * Why no stream of events is to be had: the problem's code, or nothing if there is one.
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
     * All tokens, in the pool's order. Each page may be newer than the one before.
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
     * Who had a token, newest first.
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
     * Searches the history. A page may be empty although there is a next one.
     * @param {Record<string, string | number | undefined>} query
     * @param {string} [next] from the page before
     * @returns {Promise<{ leases: PastLease[], next: string | undefined }>}
     */
    async leases(query, next) {
      const { body } = await request(next ?? `/api/leases${queryOf(query)}`);
      return { leases: body.leases.map(pastLeaseOf), next: body.next ?? undefined };
    },

    /**
     * Leases a token to a user. If the answer is lost it is asked for again, by the same key, so
     * that no second token is taken. But who waits may change their mind, which is hanging up: then
     * no lease may be left behind, as one would be under a key, so there is none.
     * @param {string} user
     * @param {{ leaseSeconds?: number, waitSeconds?: number, signal?: AbortSignal }} [wishes]
     */
    async allocate(user, { leaseSeconds, waitSeconds, signal } = {}) {
      const path = "/api/tokens/allocate";
      const body = { user_id: user, lease_seconds: leaseSeconds, wait_seconds: waitSeconds };
      if (waitSeconds === undefined) {
        const headers = { "idempotency-key": freshKey() };
        const keyed = { method: "POST", headers, body, signal };
        return allocationOf((await persist((timeout) =>
          request(path, { ...keyed, timeout }))).body);
      }
      const timeout = waitSeconds * 1000 + SPARE;
      try {
        return allocationOf((await request(path, { method: "POST", body, timeout, signal })).body);
      } catch (problem) {
        if (!(problem instanceof Problem) || problem.status !== 0) throw problem;
        throw new Problem(0, { ...problem.members, code: "wait-lost" });
      }
    },

    /**
     * Ends exactly this lease. Twice is no error, so a lost answer is asked for again.
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
      return leaseOf((await request(path, { method: "POST" })).body);
    },

    /**
     * Ends all leases. It is not repeated by itself: it would end leases begun in the meantime.
     * @returns {Promise<number>} how many there were
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
  for (let tries = 0; ; tries += 1) {
    const left = end - performance.now();
    try {
      return await attempt(Math.min(PATIENCE, left));
    } catch (problem) {
      const open = problem instanceof Problem && OPEN_ENDS.has(problem.code);
      const pause = PAUSES[tries];
      if (!open || pause === undefined || performance.now() + pause >= end) throw problem;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

/**
 * What an answer says about the time at the server: exactly, by a lease that still runs, or else to
 * the second.
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

/** Of pages from another machine over plain HTTP, browsers withhold crypto.randomUUID. */
function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * AbortSignal.any is younger than the browsers this has to run in.
 * @param {AbortSignal} one
 * @param {AbortSignal} other
 */
function either(one, other) {
  const both = new AbortController();
  for (const signal of [one, other]) {
    if (signal.aborted) both.abort(signal.reason);
    signal.addEventListener("abort", () => both.abort(signal.reason), { once: true });
  }
  return both.signal;
}
