// @ts-check
import { createApi, Problem } from "./api.js";
import { atLeast, backoff } from "./backoff.js";
import { Clock } from "./clock.js";
import { Suspicion } from "./suspicion.js";
/** @typedef {import("./shape.js").Info} Info */
/** @typedef {import("./shape.js").Ticket} Ticket */
/** @typedef {import("./api.js").Api} Api */

/** @typedef {"connecting" | "live" | "lost"} State */
/** @typedef {{ type: "state", state: State, why?: string }} StateMessage */
/** @typedef {{ epoch: number, version: number }} Stamp */

/**
 * Messages to the tabs:
 * - `load`: all events come from now on, or tokens changed; read the state from the API;
 * - `events`: JSON, an array of [kind, data] in the order in which they happened. `kind` is that of a lease's
 *   event, or in a stream of all pools also the name of another event, such as "pool.created", and the
 *   event's id follows;
 * - `info`: an answer of GET /api/pools/{pool}, requested at `sentAt` and received at `takenAt` by
 *   Date.now(), which worker and tabs share, unlike performance.now(); none in a stream of all pools;
 * - `queue`: the first tickets in the queue, requested while it is not empty;
 * - `state`: of the connection; `why` is the problem code of a reachable server that opens no
 *   stream, such as "unknown-pool".
 * @typedef {{ type: "load" } | { type: "events", text: string } | StateMessage
 *   | { type: "queue", tickets: Ticket[] }
 *   | { type: "info", info: Info, sentAt: number, takenAt: number }} Message
 */

/** Maximum number of tickets listed. */
export const TICKETS = 100;
/** Problem code of a caller that the server does not know. */
export const DENIED = "unauthenticated";
/** In place of a pool's name: all pools. */
export const ALL = "*";
const LEASES = ["started", "renewed", "ended"];
const CHANGES = ["pool.created", "pool.changed", "pool.deleted", "token.added", "token.changed",
  "token.tainted", "token.retired"];

/** Times in milliseconds. */
export const TIMES = {
  /** between two heartbeat requests, and timeout of their answer: the sum of both, at most eight
   * seconds, is how long a page may miss that the server is gone */
  beat: 3000,
  patience: 4500,
  /** between two batches of events */
  batch: 16,
  /** the first pause before a reconnection, and the longest */
  retry: 500,
  retryMost: 5000,
  /** how long a connection may be cut before it counts as lost: proxies cut now and then */
  grace: 1500,
  /** shortest time between two replacements of a stream that looks stuck */
  suspicion: 9000,
  /** pause after the server refused a stream */
  refused: 20_000,
  /** between two checks whether the machine slept, and the clock difference that shows it */
  look: 1000,
  slept: 3000,
  /** between two requests to read the list after changes of tokens */
  changed: 1000,
};

/** @typedef {(url: string) => EventSource} Open */

/**
 * The one event stream, which resumes after each cut, and a heartbeat request every few seconds: a
 * server that hangs leaves its connections open.
 */
export class Stream {
  /** @type {State} */
  state = "connecting";
  /** @type {Extract<Message, { type: "info" }> | null} the last one */
  heard = null;
  /** @type {Ticket[]} the first in the queue */
  tickets = [];

  #tell;
  #open;
  #times;
  #api;
  #pool;
  #running = false;
  /** Number of the connection attempt; results of earlier attempts are dropped. */
  #attempt = 0;
  /** @type {EventSource | null} */
  #source = null;
  /** The id of the last event, after which a new connection resumes; null before the first. */
  #id = /** @type {string | null} */ (null);
  #failures = 0;
  #refusals = 0;
  /** Whether to forget the id at the next connection. */
  #stale = false;
  /** Why the server opens no stream. @type {string | undefined} */
  #why;
  #suspicion;
  #changedAt = -Infinity;
  /** @type {string[]} */
  #batch = [];
  #sentAt = -Infinity;
  /** @type {Record<string, ReturnType<typeof setTimeout> | undefined>} */
  #timers = {};

  /**
   * @param {(message: Message) => void} tell
   * @param {{ pool?: string, api?: Pick<Api, "pool" | "refusal" | "queue" | "stamp">, open?: Open,
   *   times?: Partial<typeof TIMES> }} [parts] `pool`: a name, or all pools
   */
  constructor(tell, { pool = ALL, api, open, times } = {}) {
    this.#tell = tell;
    this.#pool = pool;
    this.#api = api ?? createApi({ pool, clock: new Clock() });
    this.#open = open ?? ((url) => new EventSource(url));
    this.#times = { ...TIMES, ...times };
    this.#suspicion = new Suspicion(this.#times.suspicion);
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.state = "connecting";
    this.#why = undefined;
    this.#lookForSleep(Date.now() - performance.now());
    void this.#connect();
  }

  /**
   * Checks whether the machine slept. Meanwhile performance.now() and timers stand still, and
   * servers close connections that the page then believes open. So after a sleep it sends a
   * heartbeat and opens the stream again. This is harmless if the clock was set instead.
   * @param {number} before difference of the clocks at the previous check
   */
  #lookForSleep(before) {
    const ahead = Date.now() - performance.now();
    if (ahead - before > this.#times.slept && this.#source !== null) {
      this.#later("grace", this.#times.grace, () => this.#say("lost"));
      void this.#connect();
    }
    this.#later("look", this.#times.look, () => this.#lookForSleep(ahead));
  }

  /** Ends the stream and forgets its position. */
  stop() {
    this.#running = false;
    this.#hangUp();
    for (const name of Object.keys(this.#timers)) this.#cancel(name);
    this.#batch = [];
    this.#id = null;
    this.heard = null;
    this.tickets = [];
    this.#failures = 0;
    this.#refusals = 0;
    this.state = "connecting";
  }

  /** Messages that a newly joined tab has missed. */
  *greeting() {
    yield /** @type {Message} */ ({ type: "state", state: this.state, why: this.#why });
    if (this.heard !== null) yield this.heard;
    if (this.tickets.length > 0) {
      yield /** @type {Message} */ ({ type: "queue", tickets: this.tickets });
    }
    if (this.#id !== null) yield /** @type {Message} */ ({ type: "load" });
  }

  async #connect() {
    this.#hangUp();
    const attempt = this.#attempt;
    const answered = await this.#ask();
    if (attempt !== this.#attempt) return;
    if (answered === "unknown") return this.#gone();
    if (answered === "denied") return this.#denied();
    if (answered === null || answered === "busy") return this.#failed(true);
    if (this.#id !== null && (this.#stale || isOther(answered, this.#id))) {
      this.#id = null;
    }
    this.#stale = false;
    // The server may return with another database, and its version alone does not show that. So the
    // list is read as well, although the stream resumes.
    if (this.#id !== null && this.state === "lost") this.#tell({ type: "load" });
    if (this.#id === null) {
      // The stream begins at the version of this answer, so a list read from now on and the events
      // leave no gap between them, even if the stream opens late.
      this.#id = `${answered.epoch}-${answered.version}`;
      this.#tell({ type: "load" });
    }
    const query = new URLSearchParams({ pool: this.#pool, last_event_id: this.#id });
    const source = this.#open(`/api/events?${query}`);
    this.#source = source;
    this.#listen(source);
    this.#later("opening", this.#times.patience, () => this.#failed(true));
  }

  /** @param {EventSource} source */
  #listen(source) {
    let opened = false;
    source.onopen = () => {
      opened = true;
      this.#refusals = 0;
      this.#cancel("opening");
      this.#say("live");
      this.#later("beat", this.#times.beat, () => void this.#beat());
    };
    source.onerror = () => {
      // An EventSource reconnects on its own after a cut, but not after an HTTP error.
      if (opened) this.#failed(false);
      else void this.#refused();
    };
    const pass = (/** @type {string} */ kind, /** @type {MessageEvent} */ event) => {
      this.#id = event.lastEventId;
      // Lists of pools have versions, and so need those of the events; tokens have fences.
      const id = this.#pool === ALL ? `,"${event.lastEventId}"` : "";
      this.#batch.push(`["${kind}",${event.data}${id}]`);
      this.#send();
    };
    for (const kind of LEASES) source.addEventListener(`lease.${kind}`, (event) => pass(kind, event));
    for (const kind of CHANGES) {
      source.addEventListener(kind, (event) => {
        if (this.#pool === ALL) return pass(kind, event);
        this.#id = event.lastEventId;
        if (kind !== "pool.deleted") return this.#changed();
        // Another pool may get the name, and this stream has no events of that one.
        this.#id = null;
        void this.#connect();
      });
    }
    source.addEventListener("resync", (event) => {
      this.#id = event.lastEventId;
      this.#flush();
      this.#tell({ type: "load" });
    });
  }

  /** Has the tabs read the list again, after a moment in which more may change. */
  #changed() {
    if (this.#timers.changed !== undefined) return;
    const wait = this.#changedAt + this.#times.changed - performance.now();
    this.#later("changed", Math.max(wait, this.#times.batch), () => {
      this.#changedAt = performance.now();
      this.#tell({ type: "load" });
      // The policy may have changed, and the pool may be gone.
      if (this.#source === null) return;
      this.#cancel("beat");
      void this.#beat();
    });
  }

  /** The server has no such pool, perhaps not yet. */
  #gone() {
    this.#id = null;
    this.#failed(true, "unknown-pool");
  }

  /** The server no longer knows the caller. Only another tab that joins starts the stream again. */
  #denied() {
    this.stop();
    this.#say("lost", DENIED);
  }

  /** The server is reachable but opens no stream, perhaps since it does not know the id, or its
   * limit is reached. An EventSource hides the reason, so the API is asked for it. */
  async #refused() {
    this.#refusals += 1;
    this.#hangUp();
    const attempt = this.#attempt;
    const why = this.#refusals < 2 ? undefined : await this.#api.refusal(this.#times.patience);
    if (attempt !== this.#attempt || !this.#running) return;
    if (why === DENIED) return this.#denied();
    this.#stale = this.#refusals >= 2;
    this.#failed(false, why);
  }

  /** Sends a heartbeat, and checks that the stream is complete. */
  async #beat() {
    const attempt = this.#attempt;
    const id = this.#id ?? "";
    const answered = await this.#ask();
    if (attempt !== this.#attempt) return;
    if (answered === "unknown") return this.#gone();
    if (answered === "denied") return this.#denied();
    if (answered === null) return this.#failed(true);
    this.#failures = 0;
    // If events are missing, they may be delayed forever, so the list is read.
    if (answered !== "busy" && (isOther(answered, id) || this.#suspicion.isStuck(answered, id))) {
      this.#id = null;
      return void this.#connect();
    }
    this.#later("beat", this.#times.beat, () => void this.#beat());
  }

  /** @returns {Promise<Info | Stamp | "busy" | "unknown" | "denied" | null>} null when the server is
   * unreachable */
  async #ask() {
    const sentAt = Date.now();
    const attempt = this.#attempt;
    const timeout = this.#times.patience;
    try {
      if (this.#pool === ALL) return await this.#api.stamp({ timeout });
      const info = await this.#api.pool({ timeout });
      if (attempt !== this.#attempt) return null;
      this.heard = { type: "info", info, sentAt, takenAt: Date.now() };
      this.#tell(this.heard);
      void this.#askQueue(info.waiting);
      return info;
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.status === 0) return null;
      if (problem.status === 401) return "denied";
      return problem.code === "unknown-pool" ? "unknown" : "busy";
    }
  }

  /** Reads the queue, unless it is empty. @param {number} waiting */
  async #askQueue(waiting) {
    if (waiting === 0 && this.tickets.length === 0) return;
    const attempt = this.#attempt;
    try {
      const timeout = this.#times.patience;
      const tickets = waiting === 0 ? [] : await this.#api.queue(TICKETS, { timeout });
      if (attempt !== this.#attempt) return;
      this.tickets = tickets;
      this.#tell({ type: "queue", tickets });
    } catch {
      // The next heartbeat requests it again.
    }
  }

  /**
   * @param {boolean} certain that the server is unreachable
   * @param {string} [why] the server opens no stream
   */
  #failed(certain, why) {
    this.#hangUp();
    this.#flush();
    this.#failures += 1;
    if (certain || this.#failures > 1) this.#say("lost", why);
    else this.#later("grace", this.#times.grace, () => this.#say("lost"));
    const { retry, retryMost } = this.#times;
    const pause = why ? atLeast(this.#times.refused)
      : backoff(this.#failures - 1, retry, retryMost);
    this.#later("retry", pause, () => void this.#connect());
  }

  #hangUp() {
    this.#attempt += 1;
    this.#source?.close();
    this.#source = null;
    for (const name of ["opening", "beat", "retry"]) this.#cancel(name);
  }

  /** @param {State} state @param {string} [why] */
  #say(state, why) {
    this.#cancel("grace");
    if (this.state === state && this.#why === why) return;
    this.state = state;
    this.#why = why;
    this.#tell({ type: "state", state, why });
  }

  /**
   * Sends the first event after a pause at once, with those that arrived together with it, so that
   * both events of an eviction appear together. Later events go in the next batch.
   */
  #send() {
    if (this.#timers.batch !== undefined) return;
    const wait = this.#sentAt + this.#times.batch - performance.now();
    this.#later("batch", Math.max(wait, 1), () => this.#flush());
  }

  #flush() {
    this.#cancel("batch");
    if (this.#batch.length === 0) return;
    const text = `[${this.#batch.join(",")}]`;
    this.#batch = [];
    this.#sentAt = performance.now();
    this.#tell({ type: "events", text });
  }

  /**
   * @param {string} name
   * @param {number} pause
   * @param {() => void} then
   */
  #later(name, pause, then) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(() => {
      this.#timers[name] = undefined;
      then();
    }, pause);
  }

  /** @param {string} name */
  #cancel(name) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = undefined;
  }
}

/**
 * Whether the id belongs to another pool: the pool was restored or created again.
 * @param {Stamp} info
 * @param {string} id from before the request for `info`
 */
function isOther(info, id) {
  const [epoch, version] = id.split("-").map(Number);
  return info.epoch !== epoch || info.version < version;
}
