// @ts-check
// Waiting for a token. The server keeps the ticket (the place in the queue) while the page repeats
// the request with the same key within 15 seconds.
import { api as pageApi, freshKey, Problem, worthRepeating } from "./api.js";
import { atLeast, backoff } from "./backoff.js";
import { after, sleep } from "./timer.js";
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./shape.js").Allocation} Allocation */
/** @typedef {import("./shape.js").Ticket} Ticket */

/** How long the server holds one request, in seconds; how much longer an answer may take, and the
 * pauses after a failure, in milliseconds. The sum is less than 15 seconds, so a lost request does
 * not lose the place in the queue. */
const HOLD = 5;
const SPARE = 4000;
const RETRY = 500;
const RETRY_MOST = 3000;
/** How long after the end of the wait an unreachable server may return, in milliseconds. */
const LATE = 15_000;

/** The user gave up the wait. */
export class GivenUp extends Error {}

/** One wait for a token: the request and its place in the queue. */
export class Waiting extends EventTarget {
  /** The last ticket received. @type {Ticket | null} */
  ticket = null;
  /** Whether the first ticket lapsed and another one was drawn. */
  lapsed = false;

  #api;
  #user;
  #wishes;
  #key = freshKey();
  #stop = new AbortController();
  #end;

  /**
   * @param {string} user
   * @param {import("./api.js").Wishes & { waitSeconds: number }} wishes
   * @param {Pick<Api, "allocateOrQueue" | "giveUp" | "releaseLease">} [api]
   */
  constructor(user, wishes, api = pageApi) {
    super();
    this.#api = api;
    this.#user = user;
    this.#wishes = wishes;
    this.#end = performance.now() + wishes.waitSeconds * 1000 + LATE;
  }

  /**
   * Repeats the request until it gets a token. Dispatches `ticket` when the position changed.
   * @returns {Promise<Allocation>}
   */
  async token() {
    const { signal } = this.#stop;
    // The first answer comes at once, with the ticket needed to give up the wait.
    for (let hold = 0, failures = 0; ; ) {
      const asked = performance.now();
      try {
        const { ticket, allocation } = await this.#ask(hold);
        if (signal.aborted) throw new GivenUp();
        if (allocation) return allocation;
        this.#take(/** @type {Ticket} */ (ticket));
        // A request that the server did not hold must not be repeated in a busy loop.
        if (hold > 0 && performance.now() - asked < 1000) await sleep(1000, signal);
        hold = HOLD;
        failures = 0;
      } catch (problem) {
        if (signal.aborted) return await this.#leave();
        if (!worthRepeating(problem) || performance.now() > this.#end) throw problem;
        const { retryAfter } = /** @type {Problem} */ (problem);
        const pause = Math.max(backoff(failures, RETRY, RETRY_MOST), atLeast(retryAfter));
        failures += 1;
        await sleep(Math.min(pause, RETRY_MOST), signal);
      }
    }
  }

  giveUp() {
    this.#stop.abort();
  }

  /** The page closes: only requests sent now can still reach the server. */
  abandon() {
    if (this.ticket) void this.#api.giveUp(this.ticket.id, true).catch(() => {});
  }

  /** @param {number} hold */
  async #ask(hold) {
    const limit = new AbortController();
    const cancel = after(hold * 1000 + SPARE, () => limit.abort());
    const hangUp = () => limit.abort();
    this.#stop.signal.addEventListener("abort", hangUp, { once: true });
    try {
      const more = { ...this.#wishes, key: this.#key, hold, limit: limit.signal };
      return await this.#api.allocateOrQueue(this.#user, more);
    } finally {
      cancel();
      this.#stop.signal.removeEventListener("abort", hangUp);
    }
  }

  /** @param {Ticket} ticket */
  #take(ticket) {
    this.lapsed ||= this.ticket !== null && this.ticket.id !== ticket.id;
    this.ticket = ticket;
    this.dispatchEvent(new Event("ticket"));
  }

  /** Leaves neither a ticket nor a lease behind. @returns {Promise<never>} */
  async #leave() {
    try {
      let { ticket } = this;
      if (ticket === null) {
        // The first request was under way: only the server knows its outcome.
        const more = { ...this.#wishes, key: this.#key, hold: 0, limit: AbortSignal.timeout(SPARE) };
        const asked = await this.#api.allocateOrQueue(this.#user, more);
        if (asked.allocation) await this.#api.releaseLease(asked.allocation.lease.id);
        ticket = asked.ticket ?? null;
      }
      const served = ticket && await this.#api.giveUp(ticket.id);
      if (served) await this.#api.releaseLease(served);
    } catch (problem) {
      if (!(problem instanceof Problem) || !worthRepeating(problem)) throw new GivenUp();
      throw new Problem(0, { code: "give-up-lost", title: problem.title });
    }
    throw new GivenUp();
  }
}
