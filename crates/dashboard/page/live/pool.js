// @ts-check
/** @typedef {import("./shape.js").Lease} Lease */
/** @typedef {import("./shape.js").Row} Row */
/** @typedef {import("./shape.js").Happening} Happening */

/** @typedef {{ position: number, id: string, value: string, lease: Lease | null }} Token */

/**
 * The page's copy of the pool.
 *
 * A token's leases are told apart by their fences: a larger one is a later one, and a lease that is
 * over stays over. So it does not matter whether the list or the events are ahead of each other.
 */
export class Pool {
  /** @type {Token[]} in the pool's order */
  tokens = [];
  /** Changes whenever anything does. */
  revision = 0;
  /** @type {Map<string, Token>} */
  #byId = new Map();
  /** The largest fence heard of, by position: of a lease that runs, or of one that is over. */
  #fences = new Float64Array(0);
  #summary = { revision: -1, from: 0, until: 0, active: 0,
    expire: /** @type {Token | null} */ (null), evict: /** @type {Token | null} */ (null) };

  /** @param {string} id */
  token(id) {
    return this.#byId.get(id);
  }

  /**
   * The token's lease; null when it has none or its time is up, which is no news to wait for.
   * @param {Token} token
   * @param {number} now
   */
  holder(token, now) {
    return token.lease !== null && token.lease.expiresAt > now ? token.lease : null;
  }

  /** @param {number} now */
  counts(now) {
    const { active } = this.#summarize(now);
    return { size: this.tokens.length, active, available: this.tokens.length - active };
  }

  /** @param {number} now */
  nextToExpire(now) {
    return this.#summarize(now).expire;
  }

  /**
   * Of the running leases the one with the smallest fence: the oldest.
   * @param {number} now
   */
  nextToEvict(now) {
    return this.#summarize(now).evict;
  }

  /**
   * Leases whose time is up although their end was not told yet.
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
   * Takes over a list of all tokens.
   * @param {readonly Row[]} rows
   */
  replace(rows) {
    this.tokens = rows.map(({ id, value, lease }, position) => ({ position, id, value, lease }));
    this.#byId = new Map(this.tokens.map((token) => [token.id, token]));
    this.#fences = Float64Array.from(rows, ({ lease }) => lease?.fence ?? 0);
    this.revision += 1;
  }

  /**
   * Takes over what happened. Late and repeated news do no harm.
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
      return running;
    }
    if (fence > known) {
      this.#fences[token.position] = fence;
      const { id, user, userId, startedAt, expiresAt } = event;
      token.lease = { id, user, userId, fence, startedAt, expiresAt };
      return true;
    }
    // The lease that is known: it is over already, or its deadline was moved, always to later.
    if (token.lease === null || token.lease.expiresAt >= event.expiresAt) return false;
    token.lease = { ...token.lease, expiresAt: event.expiresAt };
    return true;
  }

  /**
   * Goes over all tokens, but only if that may give something new: nothing changes by itself before
   * the next deadline.
   * @param {number} now
   */
  #summarize(now) {
    const summary = this.#summary;
    const fresh = summary.revision === this.revision;
    if (fresh && now >= summary.from && now < summary.until) return summary;
    let active = 0;
    let until = Infinity;
    let oldest = Infinity;
    summary.expire = null;
    summary.evict = null;
    for (const token of this.tokens) {
      const { lease } = token;
      if (lease === null || lease.expiresAt <= now) continue;
      active += 1;
      if (lease.expiresAt < until) {
        until = lease.expiresAt;
        summary.expire = token;
      }
      if (lease.fence < oldest) {
        oldest = lease.fence;
        summary.evict = token;
      }
    }
    return Object.assign(summary, { revision: this.revision, from: now, until, active });
  }
}
