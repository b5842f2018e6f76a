// @ts-check
// Requests to the API: timeouts, problems, repetition after lost answers, and the server's clock.
import { atLeast } from "./backoff.js";
/** @typedef {import("./clock.js").Clock} Clock */

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
/** The path that tells who the caller is: there, 401 means a wrong key and not the end of a session. */
export const SESSION = "/api/session";
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
 * @typedef {{ status: number, body: any, next: string | undefined, etag: string | undefined }} Answer
 *   `body` is the JSON, null with status 204; `next` the path of the next page
 */

/**
 * Sends requests to one server.
 * @param {{ base: string, clock: Clock, fetch: typeof globalThis.fetch }} parts
 */
export function createRequest({ base, clock, fetch }) {
  /** Returns whether the server is known to be reachable. @type {() => boolean} */
  let connected = () => true;
  let denied = () => {};

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
   * @returns {Promise<Answer>}
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
      if (response.status === 401 && !path.startsWith(SESSION)) denied();
      throw problem;
    }
    const { status, headers: answered } = response;
    if (answer === undefined && status !== 204) throw new Problem(status, { title: "No JSON was answered" });
    const etag = answered.get("etag") ?? undefined;
    return { status, body: answer ?? null, next: nextOf(answered.get("link")), etag };
  }

  return {
    request,
    /** Sets the function that tells whether the server is reachable. @param {() => boolean} is */
    watch(is) {
      connected = is;
    },
    /** Sets the function to call when the server no longer knows the caller. @param {() => void} then */
    onDenied(then) {
      denied = then;
    },
  };
}

/**
 * Repeats an idempotent request while its outcome is unknown.
 * @template T
 * @param {(timeout: number) => Promise<T>} attempt
 * @returns {Promise<T>}
 */
export async function persist(attempt) {
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
export function parse(text) {
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

/** A random key. On plain HTTP from another machine, browsers hide crypto.randomUUID. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
