// @ts-check
import { createApi, Problem } from "./api.js";
import { atLeast, backoff } from "./backoff.js";
import { Clock } from "./clock.js";
/** @typedef {import("./shape.js").Info} Info */
/** @typedef {import("./shape.js").Ticket} Ticket */
/** @typedef {import("./api.js").Api} Api */

/** @typedef {"connecting" | "live" | "lost"} State */
/** @typedef {{ type: "state", state: State, why?: string }} StateMessage */

/**
 * What is passed to the tabs:
 * - `load`: from now on all events come, and what was before is to be read from the API;
 * - `events`: JSON, an array of [kind, data] in the order in which they happened;
 * - `info`: an answer of GET /api/pool, asked for at `sentAt` and there at `takenAt` by Date.now(),
 *   which worker and tabs share, unlike performance.now();
 * - `queue`: the first who wait, asked for while there are any;
 * - `state`: of the connection; `why` is the code of the problem for which a server that is there
 *   opens no stream.
 * @typedef {{ type: "load" } | { type: "events", text: string } | StateMessage
 *   | { type: "queue", tickets: Ticket[] }
 *   | { type: "info", info: Info, sentAt: number, takenAt: number }} Message
 */

/** How many of those who wait are listed. */
export const TICKETS = 100;

/** Times in milliseconds. */
export const TIMES = {
  /** between two questions for a sign of life, and how long the answer may take: the sum of both,
   * and no more than eight seconds, is how long a page may be wrong about a server that is gone */
  beat: 3000,
  patience: 4500,
  /** how far batches of events are apart */
  batch: 16,
  /** the first pause before connecting again, and the longest */
  retry: 500,
  retryMost: 5000,
  /** how long a cut may last before it is called one: proxies cut now and then */
  grace: 1500,
  /** how often at most a stream that looks stuck is replaced */
  suspicion: 9000,
  /** how long a server that refuses one more stream is left alone */
  refused: 20_000,
  /** between two looks at whether the machine slept, and by how much the clocks differ then */
  look: 1000,
  slept: 3000,
};

/** @typedef {(url: string) => EventSource} Open */

/**
 * The one stream of events, which goes on where it was after each cut, and one question every few
 * seconds as a sign of life: on a server that stands still, connections stay open.
 */
export class Stream {
  /** @type {State} */
  state = "connecting";
  /** @type {Extract<Message, { type: "info" }> | null} the last one */
  heard = null;
  /** @type {Ticket[]} the first who wait */
  tickets = [];

  #tell;
  #open;
  #times;
  #api;
  #running = false;
  /** Which attempt to connect this is; what belongs to an earlier one is dropped. */
  #attempt = 0;
  /** @type {EventSource | null} */
  #source = null;
  /** The id of the last event, after which a new connection goes on; null before the first. */
  #id = /** @type {string | null} */ (null);
  #failures = 0;
  #refusals = 0;
  /** Whether the id is to be forgotten when a stream is asked for again. */
  #stale = false;
  /** Why the server opens no stream. @type {string | undefined} */
  #why;
  /** The id at the last sign of life, and the version that the pool had then. */
  #last = { id: "", version: 0, replacedAt: -Infinity };
  /** @type {string[]} */
  #batch = [];
  #sentAt = -Infinity;
  /** @type {Record<string, ReturnType<typeof setTimeout> | undefined>} */
  #timers = {};

  /**
   * @param {(message: Message) => void} tell
   * @param {{ api?: Pick<Api, "pool" | "refusal" | "queue">, open?: Open,
   *   times?: Partial<typeof TIMES> }} [parts]
   */
  constructor(tell, { api, open, times } = {}) {
    this.#tell = tell;
    this.#api = api ?? createApi({ clock: new Clock() });
    this.#open = open ?? ((url) => new EventSource(url));
    this.#times = { ...TIMES, ...times };
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#lookForSleep(Date.now() - performance.now());
    void this.#connect();
  }

  /**
   * While a machine sleeps, performance.now() and timers stand still, and servers close connections
   * that the page then takes for open. So after it the server is asked, and the stream opened again.
   * It may also be that the clock was set, which does no harm.
   * @param {number} before how far the clocks were apart
   */
  #lookForSleep(before) {
    const ahead = Date.now() - performance.now();
    if (ahead - before > this.#times.slept && this.#source !== null) {
      this.#later("grace", this.#times.grace, () => this.#say("lost"));
      void this.#connect();
    }
    this.#later("look", this.#times.look, () => this.#lookForSleep(ahead));
  }

  /** Ends the stream and forgets how far it came. */
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

  /** What a tab that comes later has missed. */
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
    if (answered === null || answered === "busy") return this.#failed(true);
    if (this.#id !== null && (this.#stale || isOther(answered, this.#id))) {
      this.#id = null;
    }
    this.#stale = false;
    // What comes back may have another database, which can't be told by its version alone: so the
    // list is read as well, although the stream goes on where it was.
    if (this.#id !== null && this.state === "lost") this.#tell({ type: "load" });
    if (this.#id === null) {
      // The stream begins at the version that was just answered, so a list that is read from now on
      // and the events leave no gap between them, even if the stream takes its time to open.
      this.#id = `${answered.epoch}-${answered.version}`;
      this.#tell({ type: "load" });
    }
    const source = this.#open(`/api/events?last_event_id=${encodeURIComponent(this.#id)}`);
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
      // By itself it would connect again after a cut, but not after an HTTP error.
      if (opened) this.#failed(false);
      else void this.#refused();
    };
    for (const kind of ["started", "renewed", "ended"]) {
      source.addEventListener(`lease.${kind}`, (event) => {
        this.#id = event.lastEventId;
        this.#batch.push(`["${kind}",${event.data}]`);
        this.#send();
      });
    }
    source.addEventListener("resync", (event) => {
      this.#id = event.lastEventId;
      this.#flush();
      this.#tell({ type: "load" });
    });
  }

  /** The server is there, but opens no stream: maybe since the id is none it knows, or there are
   * too many. An EventSource does not tell, so it is asked for. */
  async #refused() {
    this.#refusals += 1;
    this.#hangUp();
    const attempt = this.#attempt;
    const why = this.#refusals < 2 ? undefined : await this.#api.refusal(this.#times.patience);
    if (attempt !== this.#attempt || !this.#running) return;
    this.#stale = this.#refusals >= 2;
    this.#failed(false, why);
  }

  /** A sign of life, and whether the stream still is what the server has to tell. */
  async #beat() {
    const attempt = this.#attempt;
    const id = this.#id ?? "";
    const answered = await this.#ask();
    if (attempt !== this.#attempt) return;
    if (answered === null) return this.#failed(true);
    this.#failures = 0;
    if (answered !== "busy" && isOther(answered, id)) {
      this.#id = null;
      return void this.#connect();
    }
    if (answered !== "busy" && this.#isStuck(answered, id)) {
      // What it would have told may be held up on the way for ever, so it is read from the list.
      this.#id = null;
      return void this.#connect();
    }
    this.#later("beat", this.#times.beat, () => void this.#beat());
  }

  /** @returns {Promise<Info | "busy" | null>} null when the server is away */
  async #ask() {
    const sentAt = Date.now();
    const attempt = this.#attempt;
    try {
      const info = await this.#api.pool({ timeout: this.#times.patience });
      if (attempt !== this.#attempt) return null;
      this.heard = { type: "info", info, sentAt, takenAt: Date.now() };
      this.#tell(this.heard);
      void this.#askQueue(info.waiting);
      return info;
    } catch (problem) {
      return problem instanceof Problem && problem.status > 0 ? "busy" : null;
    }
  }

  /** Nobody has to ask for a queue that is empty. @param {number} waiting */
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
      // It is asked for again with the next sign of life.
    }
  }

  /**
   * Whether the pool goes on and no event comes: a connection may be dead without anyone knowing.
   * Not everything in the journal is an event, so this may be wrong, and must not be done often.
   * @param {Info} info
   * @param {string} id
   */
  #isStuck(info, id) {
    const last = this.#last;
    const silent = id === last.id && Number(id.split("-")[1]) < last.version;
    const { replacedAt } = last;
    // While somebody waits, servers write every second that they are there.
    const pause = this.#times.suspicion * (info.waiting > 0 ? 8 : 1);
    const due = silent && performance.now() - replacedAt > pause;
    this.#last = { id, version: info.version, replacedAt: due ? performance.now() : replacedAt };
    return due;
  }

  /**
   * @param {boolean} certain that the server is away
   * @param {string} [why] it opens no stream
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
   * The first event after a pause goes at once, with those that came along with it: of an eviction
   * nobody is to see only the half. Those behind it go together.
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
 * Whether the pool is not the one that the id is of: it was restored, or made anew.
 * @param {Info} info
 * @param {string} id from before that was asked for
 */
function isOther(info, id) {
  const [epoch, version] = id.split("-").map(Number);
  return info.epoch !== epoch || info.version < version;
}
