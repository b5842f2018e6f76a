// @ts-check
/** @typedef {import("./shape.js").Info} Info */
/** @typedef {import("./stream.js").Stamp} Stamp */

/** How much longer a stream is trusted while nothing shows that an event of its pool is missing. */
const TRUST = 8;

/**
 * Suspects a connection that is dead unnoticed: the journal goes on, but no event comes. Not every entry of
 * the journal is an event of the pool, since other pools change, too, and while requests are queued,
 * servers record every second that they are alive. So it may be wrong, and must rarely replace a stream.
 */
export class Suspicion {
  #pause;
  #id = "";
  #version = 0;
  /** The pool's counts when the id was new, and whether they changed since without an event. */
  #counts = "";
  #changed = false;
  #replacedAt = -Infinity;
  #beganAt = performance.now();

  /** @param {number} pause between two replacements of the stream, in milliseconds */
  constructor(pause) {
    this.#pause = pause;
  }

  /**
   * @param {Info | Stamp} info the answer to a heartbeat
   * @param {string} id of the last event before it
   */
  isStuck(info, id) {
    const same = id === this.#id;
    const silent = same && Number(id.split("-")[1]) < this.#version;
    const missing = "waiting" in info && info.waiting === 0 && this.#changed && same;
    const due = silent && performance.now() > (missing ? this.#replacedAt + this.#pause
      : Math.max(this.#beganAt, this.#replacedAt) + TRUST * this.#pause);
    const counts = "active" in info ? `${info.active} ${info.size} ${info.oldest_lease?.lease_id}` : "";
    if (!same) this.#counts = counts;
    this.#changed = counts !== this.#counts;
    this.#id = id;
    this.#version = info.version;
    if (due) this.#replacedAt = performance.now();
    return due;
  }
}
