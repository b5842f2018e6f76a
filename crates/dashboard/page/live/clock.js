// @ts-check

/** Largest drift between the page's clock and the server's, in milliseconds per millisecond. */
const DRIFT = 0.0002;
/** Largest difference that rounding makes between two correct times, in milliseconds. */
const ROUNDING = 2;
/** Usual delay of an event, in milliseconds. */
const FRESH = 20;

/**
 * The server's time, estimated from its answers. The page's own clock may be wrong by hours, so it
 * only measures elapsed time.
 *
 * Each answer contains the server's time at some moment between the request and the answer. So the
 * difference of the two clocks lies between two bounds, and each further answer narrows them.
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
   * Learns that the server's time was between `serverMs` and `serverMs + spread` at a moment
   * between `sentAt` and `takenAt`.
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
      // One of the clocks was set, or the machine slept: the old bounds are no longer valid.
      this.#low = low;
      this.#high = high;
      return;
    }
    this.#low = Math.max(this.#low, low);
    this.#high = Math.max(this.#low, Math.min(this.#high, high));
  }

  /**
   * Learns from an event that the server's time was `serverMs` or later at `takenAt`.
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
    // An event later than every known time has just happened; an old event sets no upper bound.
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

/** The clock of this page, set by the requests of api.js. */
export const clock = new Clock();
