// @ts-check
/** @typedef {import("./shape.js").Lease} Lease */
/** @typedef {import("./shape.js").Row} Row */
/** @typedef {import("./shape.js").Happening} Happening */

/** @typedef {import("./shape.js").Status} Status */
/** @typedef {import("./shape.js").Taint} Taint */

/** @typedef {Row & { position: number }} Token position in the list; `number` never changes, and has gaps
 * after tokens were retired; `status` is that of the last event, and `Pool.status` that of a moment */

/**
 * The taint that keeps new leases from a token; undefined without one.
 * @param {Pick<Token, "taints">} token
 * @param {number} now
 * @returns {Taint | undefined}
 */
export const blockedBy = ({ taints }, now) =>
  taints.find(({ effect, until }) => effect !== "note" && (until === null || until > now));

/**
 * The page's replica of the pool.
 *
 * Fences distinguish a token's leases: a larger fence is a later lease, and an ended lease stays
 * ended. So the list may be ahead of the events, or the events ahead of the list.
 */
export class Pool {
  /** @type {Token[]} in the pool's order */
  tokens = [];
  /** Whether a token has a taint, or is being retired. */
  marked = false;
  /** Changes with every change of the pool. */
  revision = 0;
  /** @type {Map<string, Token>} */
  #byId = new Map();
  /** @type {Map<string, Token>} */
  #byName = new Map();
  /** The largest known fence by position: of a running or of an ended lease. */
  #fences = new Float64Array(0);
  #summary = { revision: -1, from: 0, until: 0, active: 0, tainted: 0,
    expire: /** @type {Token | null} */ (null), evict: /** @type {Token | null} */ (null) };

  /** @param {string} id */
  token(id) {
    return this.#byId.get(id);
  }

  /** @param {string} nameOrId */
  find(nameOrId) {
    return this.#byId.get(nameOrId.toLowerCase()) ?? this.#byName.get(nameOrId);
  }

  /**
   * The token's lease; null without one or after its deadline, even before the event of its end.
   * @param {Token} token
   * @param {number} now
   */
  holder(token, now) {
    return token.lease !== null && token.lease.expiresAt > now ? token.lease : null;
  }

  /**
   * @param {Token} token
   * @param {number} now
   * @returns {Status}
   */
  status(token, now) {
    if (this.holder(token, now)) return "active";
    return token.retiring || blockedBy(token, now) ? "tainted" : "available";
  }

  /** @param {number} now */
  counts(now) {
    const { active, tainted } = this.#summarize(now);
    const size = this.tokens.length;
    return { size, active, tainted, available: size - active - tainted };
  }

  /** @param {number} now */
  nextToExpire(now) {
    return this.#summarize(now).expire;
  }

  /**
   * The token of the oldest running lease: the one with the smallest fence.
   * @param {number} now
   */
  nextToEvict(now) {
    return this.#summarize(now).evict;
  }

  /**
   * Leases past their deadline for which no end event came yet.
   * @param {number} now
   */
  overdue(now) {
    const leases = [];
    for (const { lease } of this.tokens) {
      if (lease !== null && lease.expiresAt <= now) leases.push(lease);
    }
    return leases;
  }

  /**
   * Replaces the pool with a list of all tokens.
   * @param {readonly Row[]} rows
   */
  replace(rows) {
    this.tokens = rows.map((row, position) => ({ ...row, position }));
    this.#byId = new Map(this.tokens.map((token) => [token.id, token]));
    this.#byName = new Map(this.tokens.map((token) => [token.name, token]));
    this.marked = rows.some(({ taints, retiring }) => retiring || taints.length > 0);
    this.#fences = Float64Array.from(rows, ({ lease }) => lease?.fence ?? 0);
    this.revision += 1;
  }

  /**
   * Applies an event. Late and repeated events are harmless.
   * @param {Happening} event
   * @returns {number} the position of the token that it changed, or -1
   */
  apply(event) {
    const token = this.#byId.get(event.tokenId);
    if (token === undefined || !this.#change(token, event)) return -1;
    this.revision += 1;
    return token.position;
  }

  /**
   * @param {Token} token
   * @param {Happening} event
   */
  #change(token, event) {
    const { fence } = event;
    const known = this.#fences[token.position];
    if (fence < known) return false;
    const running = token.lease !== null;
    if (event.kind === "ended") {
      this.#fences[token.position] = fence;
      token.lease = null;
      token.note = null;
      token.status = token.retiring || blockedBy(token, event.at) ? "tainted" : "available";
      return running;
    }
    if (fence > known) {
      this.#fences[token.position] = fence;
      const { id, user, userId, startedAt, expiresAt } = event;
      token.lease = { id, user, userId, fence, startedAt, expiresAt };
      token.note = event.note;
      token.status = "active";
      return true;
    }
    // The known lease: it has already ended, or its deadline was moved, always to a later time.
    if (token.lease === null || token.lease.expiresAt >= event.expiresAt) return false;
    token.lease = { ...token.lease, expiresAt: event.expiresAt };
    return true;
  }

  /**
   * Scans all tokens, but only if the result may change: without events, nothing changes before the
   * next deadline of a lease or taint.
   * @param {number} now
   */
  #summarize(now) {
    const summary = this.#summary;
    const fresh = summary.revision === this.revision;
    if (fresh && now >= summary.from && now < summary.until) return summary;
    let active = 0;
    let tainted = 0;
    let until = Infinity;
    let oldest = Infinity;
    let next = Infinity;
    summary.expire = null;
    summary.evict = null;
    for (const token of this.tokens) {
      const { lease } = token;
      for (const taint of token.taints) {
        if (taint.until !== null && taint.until > now) until = Math.min(until, taint.until);
      }
      if (lease === null || lease.expiresAt <= now) {
        if (token.retiring || blockedBy(token, now)) tainted += 1;
        continue;
      }
      active += 1;
      until = Math.min(until, lease.expiresAt);
      if (lease.expiresAt < next) {
        next = lease.expiresAt;
        summary.expire = token;
      }
      if (lease.fence < oldest) {
        oldest = lease.fence;
        summary.evict = token;
      }
    }
    return Object.assign(summary, { revision: this.revision, from: now, until, active, tainted });
  }
}
