// @ts-check
import { backoff } from "./backoff.js";
/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./stream.js").Message} Message */
/** @typedef {import("./stream.js").State} State */

/** Times in milliseconds: bounds of the pause after a failed reading. */
const RETRY = 500;
const RETRY_MOST = 5000;

/** An event with a detail: some engines that run the tests have no CustomEvent. */
class News extends Event {
  /** @param {string} type @param {any} detail */
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
}

/**
 * What is read from the server and then kept current by a stream of events. A stream that missed events asks to
 * read again. It dispatches `state`, also when the reason of a lost connection changes.
 */
export class Follower extends EventTarget {
  /** @type {State} */
  state = "connecting";
  /** Why a reachable server opens no stream: a problem code. @type {string | undefined} */
  why;
  /** Why it can't be read, while it can't. @type {unknown} */
  problem = null;
  /** When it was last known to be current, by performance.now(). */
  currentAt = 0;
  /** Whether it has been read. */
  loaded = false;
  /** @type {Clock} */
  clock;

  /** Whether it is being read. @protected */
  isReading = false;
  /** Number of times that it had to be read, to detect a reading that began too early. @protected */
  wanted = 0;

  #apart;
  /** @type {State} of the stream; this is live only if it was read, too */
  #connection = "connecting";
  /** Whether the last reading is older than the last loss of the connection. */
  #isOld = false;
  #wake = () => {};
  #told = "connecting undefined false";

  /** @param {Clock} clock @param {number} apart pause between two readings in milliseconds */
  constructor(clock, apart) {
    super();
    this.clock = clock;
    this.#apart = apart;
  }

  /**
   * Reads everything once, and calls `isRead`.
   * @protected
   * @returns {Promise<void>}
   */
  readOnce() {
    throw new Error("a subclass reads");
  }

  /**
   * Takes a message about the stream itself, and tells whether it was one.
   * @protected
   * @param {Message} message
   * @returns {message is Extract<Message, { type: "state" | "load" }>}
   */
  takesState(message) {
    if (message.type === "state") {
      this.why = message.why;
      this.connected(message.state);
    } else if (message.type === "load") {
      if (this.state === "lost") this.#isOld = true;
      void this.load();
    } else {
      return false;
    }
    return true;
  }

  /** Reads everything, and again if that was requested meanwhile. @protected */
  async load() {
    this.wanted += 1;
    if (this.isReading) return;
    this.isReading = true;
    for (let failures = 0, done = 0; done < this.wanted; ) {
      const wanted = this.wanted;
      try {
        await this.readOnce();
        failures = 0;
        this.problem = null;
        done = wanted;
      } catch (problem) {
        failures += 1;
        this.problem = problem;
      }
      this.connected(this.#connection);
      if (failures > 0) await this.#untilBack(retryPause(failures - 1));
      else if (done < this.wanted) await pause(this.#apart);
    }
    this.isReading = false;
    this.afterLoad();
  }

  /** @protected */
  afterLoad() {}

  /** @protected */
  isRead() {
    this.loaded = true;
    this.#isOld = false;
    this.currentAt = performance.now();
  }

  /** Waits for the next attempt, which begins at once when the server is back. @param {number} ms */
  #untilBack(ms) {
    return new Promise((resolve) => {
      this.#wake = () => resolve(undefined);
      setTimeout(resolve, ms);
    });
  }

  /** @protected @param {State} connection */
  connected(connection) {
    if (connection === "live" && this.#connection !== "live") this.#wake();
    this.#connection = connection;
    // A connection is useless to a page that can't read the events that it missed.
    const own = this.problem || this.#isOld ? "lost" : this.loaded ? "live" : "connecting";
    const state = connection === "live" ? own : connection;
    const told = `${state} ${this.why} ${Boolean(this.problem)}`;
    if (told === this.#told) return;
    this.#told = told;
    this.state = state;
    this.say("state");
  }

  /** @protected @param {string} type @param {any} [detail] */
  say(type, detail = null) {
    this.dispatchEvent(new News(type, detail));
  }
}

/** The pause before another attempt, in milliseconds. @param {number} failures before the last one */
export const retryPause = (failures) => backoff(failures, RETRY, RETRY_MOST);

/** @param {number} ms */
export function pause(ms) {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();
}
