// @ts-check

/** How far a page's clock and a server's may drift apart, in milliseconds per millisecond. */
const DRIFT = 0.0002;
/** What rounding may make two true statements differ by, in milliseconds. */
const ROUNDING = 2;
/** How soon news usually come, in milliseconds. */
const FRESH = 20;

/**
 * The server's time, as far as its answers tell it. The page's own clock may be wrong by hours, so
 * it is used for nothing but the time that passes.
 *
 * Each answer says: at some moment between the request and the answer it was such and such a time
 * at the server. So the difference of the two clocks lies between two bounds, and what several
 * answers say together narrows them.
 */
export class Clock {
  #low = -Infinity;
  #high = Infinity;
  #learntAt = 0;

  /** @returns {number} milliseconds since 1970 at the server */
  now() {
    // Until an answer has come the page's own clock is the best guess.
    if (this.#low === -Infinity) return Date.now();
    return performance.now() + this.#offset();
  }

  /**
   * It was `serverMs`, and at most `spread` later, at the server at a moment between `sentAt` and
   * `takenAt`.
   * @param {number} serverMs
   * @param {number} [takenAt] as by performance.now()
   * @param {number} [sentAt]
   * @param {number} [spread]
   */
  learn(serverMs, takenAt = performance.now(), sentAt = takenAt, spread = 0) {
    if (!Number.isFinite(serverMs)) return;
    this.#age(takenAt);
    const low = serverMs - takenAt;
    const high = serverMs + spread - sentAt;
    if (low > this.#high + ROUNDING || high < this.#low - ROUNDING) {
      // One of the clocks was set, or the machine slept: what was true is so no longer.
      this.#low = low;
      this.#high = high;
      return;
    }
    this.#low = Math.max(this.#low, low);
    this.#high = Math.max(this.#low, Math.min(this.#high, high));
  }

  /**
   * It was `serverMs` or later at the server when this was taken: what happened then is known.
   * @param {number} serverMs
   * @param {number} [takenAt]
   */
  atLeast(serverMs, takenAt = performance.now()) {
    // Without an upper bound, old news would pass for the present time.
    if (this.#low === -Infinity || !Number.isFinite(serverMs)) return;
    this.#age(takenAt);
    const low = serverMs - takenAt;
    if (low <= this.#low) return;
    this.#low = low;
    // What is later than all that was known just happened; of old news this is not said.
    this.#high = Math.max(low, Math.min(this.#high, low + FRESH));
  }

  #offset() {
    return (this.#low + this.#high) / 2;
  }

  /** @param {number} at */
  #age(at) {
    const drift = Math.max(0, at - this.#learntAt) * DRIFT;
    this.#low -= drift;
    this.#high += drift;
    this.#learntAt = Math.max(this.#learntAt, at);
  }
}

/** The clock of this page: the requests of api.js set it. */
export const clock = new Clock();
