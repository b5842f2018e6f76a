// @ts-check
import { api as pageApi, Problem } from "./api.js";
import { backoff } from "./backoff.js";
import { clock as pageClock } from "./clock.js";
import { openLine } from "./line.js";
import { happeningsOf, readPast } from "./past.js";
import { Pool } from "./pool.js";
import { Series } from "./series.js";
import { happeningOf } from "./shape.js";
/** @typedef {import("./shape.js").Happening} Happening */
/** @typedef {import("./shape.js").Info} Info */
/** @typedef {import("./shape.js").Row} Row */
/** @typedef {import("./shape.js").Ticket} Ticket */
/** @typedef {import("./stream.js").Message} Message */
/** @typedef {import("./stream.js").State} State */
/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./clock.js").Clock} Clock */

/** Number of events kept. */
export const RECENT = 300;
/** Times in milliseconds: between two dispatches; between attempts to load; between two loads. */
const FRAME = 16;
const RETRY = 500;
const RETRY_MOST = 5000;
const APART = 250;
/** Time between two loads of the history, which costs the server more and is less urgent. */
const PAST_APART = 10_000;
/** Number of successive answers in which the server may count other holders than the page: two
 * while it is quiet, and more, at longer intervals, while events may still be under way. */
const DOUBTS = 4;
const DOUBTS_APART = 30_000;

/** An event with a detail: some engines that run the tests have no CustomEvent. */
class News extends Event {
  /**
   * @param {string} type
   * @param {any} detail
   */
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
}

/**
 * The page's view of the server; it keeps itself current. It dispatches:
 * - `pool`, detail {positions: number[] | null}: these tokens changed, or all (null)
 * - `recent`: an event happened
 * - `series`: the last minutes were read from the history
 * - `queue`: the queue changed
 * - `info`; `state`, also when the reason of a lost connection changes
 */
export class Live extends EventTarget {
  pool = new Pool();
  series = new Series();
  /** @type {Info | null} */
  info = null;
  /** @type {Happening[]} oldest first */
  recent = [];
  /** The first tickets in the queue, at most a few seconds old. @type {Ticket[]} */
  queue = [];
  /** The queue position of this page's own ticket. @type {number | null} */
  place = null;
  /** @type {State} */
  state = "connecting";
  /** Why a reachable server opens no stream: a problem code. @type {string | undefined} */
  why;
  /** The pool's name, once it is known. @type {string | null} */
  name = null;
  /** Whether the pool has ever granted a lease; null while that is unknown. @type {boolean | null} */
  used = null;
  /** Why the pool can't be read, while it can't. @type {unknown} */
  problem = null;
  /** When the shown pool was last known to be current, by performance.now(). */
  currentAt = 0;
  clock;

  #api;
  #openLine;
  /** @type {Line | null} */
  #line = null;
  /** @type {State} of the stream; the page is live only if the pool was read, too */
  #connection = "connecting";
  #loaded = false;
  /** Whether the known list is older than the last loss of the connection. */
  #old = false;
  #doubts = { count: 0, happened: false, endedAt: -Infinity };
  #loading = false;
  #wake = () => {};
  /** Number of times that the pool had to be read, to detect a list that was read too early. */
  #wanted = 0;
  /** @type {Map<string, Happening>} by token, the last event that a list being read may lack */
  #kept = new Map();
  #pastAt = -Infinity;
  #readingPast = false;
  /** @type {Set<number> | null} positions that changed; null for all */
  #changed = new Set();
  #news = false;
  #told = "connecting undefined false";
  #toldAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #telling;

  /**
   * @param {{ api?: Pick<Api, "poolName" | "tokens" | "leases">, clock?: Clock,
   *   openLine?: (pool: string, tell: (message: Message) => void) => Line }} [parts]
   */
  constructor({ api = pageApi, clock = pageClock, openLine: open = openLine } = {}) {
    super();
    this.#api = api;
    this.clock = clock;
    this.#openLine = open;
  }

  /** Opens the line, once the pool's name is known. */
  async start() {
    for (let failures = 0; this.#line === null; failures += 1) {
      try {
        this.name = await this.#api.poolName();
        this.#line = this.#openLine(this.name, (message) => this.#take(message));
        this.problem = null;
      } catch (problem) {
        // Of a lost connection the state says enough.
        this.problem = problem instanceof Problem && problem.status > 0 ? problem : null;
        this.#connected("lost");
        await pause(backoff(failures, RETRY, RETRY_MOST));
      }
    }
  }

  /** Whether the tokens have been read. */
  get loaded() {
    return this.#loaded;
  }

  /** @param {Message} message */
  #take(message) {
    if (message.type === "state") {
      this.why = message.why;
      return this.#connected(message.state);
    }
    if (message.type === "queue") return this.#setQueue(message.tickets);
    if (message.type === "load") {
      if (this.state === "lost") this.#old = true;
      return void this.#load();
    }
    if (this.state === "live") this.currentAt = performance.now();
    if (message.type === "events") return this.#happened(JSON.parse(message.text));
    this.info = message.info;
    this.#learn(message);
    this.dispatchEvent(new News("info", null));
    if (this.state === "live" && this.#doubt(message.info)) void this.#load();
  }

  /** @param {Ticket[]} tickets */
  #setQueue(tickets) {
    this.queue = tickets;
    this.dispatchEvent(new News("queue", null));
  }

  /** A ticket has the id of the lease that it becomes. @param {string} id of a lease that began */
  #serve(id) {
    const served = this.queue.findIndex((ticket) => ticket.id === id);
    if (served < 0) return;
    this.#setQueue(this.queue.flatMap((ticket, i) => (
      i === served ? [] : i < served ? ticket : { ...ticket, position: ticket.position - 1 })));
  }

  /**
   * Whether the page's replica contradicts the server, for any reason.
   * @param {Info} info
   */
  #doubt({ active, size }) {
    const doubts = this.#doubts;
    const same = active === this.pool.counts(this.clock.now()).active
      && size === this.pool.tokens.length;
    const quiet = !doubts.happened;
    doubts.happened = false;
    doubts.count = same || this.#loading ? 0 : doubts.count + (quiet ? DOUBTS / 2 : 1);
    const pause = performance.now() - doubts.endedAt;
    if (doubts.count < DOUBTS || pause < DOUBTS_APART) return false;
    Object.assign(doubts, { count: 0, endedAt: performance.now() });
    return true;
  }

  /** @param {Extract<Message, { type: "info" }>} message */
  #learn({ info, sentAt, takenAt }) {
    const lease = info.oldest_lease;
    if (!(lease?.expires_in > 0)) return;
    const ahead = performance.now() - Date.now();
    const serverMs = Date.parse(lease.expires_at) - lease.expires_in * 1000;
    this.clock.learn(serverMs, takenAt + ahead, sentAt + ahead);
  }

  /** @param {readonly [Happening["kind"], any][]} told */
  #happened(told) {
    const now = this.clock.now();
    let latest = 0;
    let strange = false;
    this.#doubts.happened = true;
    this.used = true;
    for (const [kind, data] of told) {
      const event = happeningOf(kind, data, now);
      const position = this.pool.apply(event);
      if (position >= 0) this.#changed?.add(position);
      event.position = this.pool.token(event.tokenId)?.position ?? -1;
      if (event.position < 0 && kind !== "ended") strange = true;
      if (kind === "started") this.#serve(event.id);
      if (this.#loading) this.#kept.set(event.tokenId, event);
      if (this.series.apply(event)) this.recent.push(event);
      // A renewal has no time except the page's own guess.
      if (kind !== "renewed") latest = Math.max(latest, event.at);
    }
    if (latest > 0) this.clock.atLeast(latest);
    if (this.recent.length > RECENT) this.recent.splice(0, this.recent.length - RECENT);
    this.#news = true;
    if (strange && this.#loaded) void this.#load();
    this.#tell();
  }

  /** Reads the pool. Events are kept meanwhile, since a page of the list may be older than them. */
  async #load() {
    this.#wanted += 1;
    if (this.#loading) return;
    this.#loading = true;
    for (let failures = 0, done = 0; done < this.#wanted; ) {
      const wanted = this.#wanted;
      this.#kept.clear();
      try {
        this.#replace(await this.#api.tokens());
        failures = 0;
        this.problem = null;
        done = wanted;
      } catch (problem) {
        failures += 1;
        this.problem = problem;
      }
      this.#connected(this.#connection);
      if (failures > 0) await this.#pause(backoff(failures - 1, RETRY, RETRY_MOST));
      else if (done < this.#wanted) await pause(APART);
    }
    this.#loading = false;
    this.#kept.clear();
    void this.#loadPast();
  }

  /**
   * Waits for the next attempt, which begins at once when the server is back.
   * @param {number} ms
   */
  #pause(ms) {
    return new Promise((resolve) => {
      this.#wake = () => resolve(undefined);
      setTimeout(resolve, ms);
    });
  }

  /** @param {Row[]} rows */
  #replace(rows) {
    // Another database has other tokens: the old events are not part of its history.
    const known = this.pool.tokens;
    if (this.#loaded && known.length > 0 && rows.length > 0
      && !rows.some(({ id }) => this.pool.token(id))) {
      this.recent = [];
      this.used = null;
      this.series = new Series();
      this.#pastAt = -Infinity;
      this.#news = true;
    }
    this.pool.replace(rows);
    for (const event of this.#kept.values()) this.pool.apply(event);
    for (const event of this.recent) this.#place(event);
    if (rows.some(({ lease }) => lease !== null)) this.used = true;
    this.#loaded = true;
    this.#old = false;
    this.currentAt = performance.now();
    this.#changed = null;
    this.#tellNow();
  }

  /** Reads the last minutes. A failure waits for the next load: the events continue anyway. */
  async #loadPast() {
    if (this.#readingPast) return;
    this.#readingPast = true;
    await pause(this.#pastAt + PAST_APART - performance.now());
    this.#pastAt = performance.now();
    this.series.expect();
    try {
      const { leases, since } = await readPast(this.#api, this.clock.now());
      this.series.load(leases, since, this.clock.now());
      this.#remember(happeningsOf(leases, since, RECENT));
      this.used ??= leases.length > 0 || await this.#wasUsed();
      this.dispatchEvent(new News("series", null));
    } catch {
      this.series.giveUp();
    }
    this.#readingPast = false;
  }

  async #wasUsed() {
    const { leases, next } = await this.#api.leases({ limit: 1 });
    return leases.length > 0 || next !== undefined;
  }

  /**
   * Inserts the events of the history before and between those of the stream.
   * @param {Happening[]} past
   */
  #remember(past) {
    const told = this.recent;
    const known = new Set(told.map(({ kind, fence }) => `${kind} ${fence}`));
    const missed = past.filter(({ kind, fence }) => !known.has(`${kind} ${fence}`));
    if (missed.length === 0) return;
    for (const event of missed) this.#place(event);
    // Sorting is stable: events of the stream keep their order within a moment.
    this.recent = [...missed, ...told].sort((a, b) => a.at - b.at).slice(-RECENT);
    this.#news = true;
    this.#tell();
  }

  /** @param {Happening} event */
  #place(event) {
    event.position = this.pool.token(event.tokenId)?.position ?? -1;
  }

  /** @param {State} connection */
  #connected(connection) {
    if (connection === "live" && this.#connection !== "live") this.#wake();
    this.#connection = connection;
    // A connection is useless to a page that can't read the events that it missed.
    const own = this.problem || this.#old ? "lost" : this.#loaded ? "live" : "connecting";
    const state = connection === "live" ? own : connection;
    const told = `${state} ${this.why} ${Boolean(this.problem)}`;
    if (told === this.#told) return;
    this.#told = told;
    this.state = state;
    this.dispatchEvent(new News("state", null));
  }

  /** Dispatches changes: at once, but at most once per frame of the screen. */
  #tell() {
    if (this.#telling !== undefined) return;
    const wait = this.#toldAt + FRAME - performance.now();
    if (wait > 0) {
      this.#telling = setTimeout(() => this.#tellNow(), wait);
    } else {
      this.#tellNow();
    }
  }

  #tellNow() {
    clearTimeout(this.#telling);
    this.#telling = undefined;
    this.#toldAt = performance.now();
    const changed = this.#changed;
    const news = this.#news;
    this.#changed = new Set();
    this.#news = false;
    if (changed === null || changed.size > 0) {
      this.dispatchEvent(new News("pool", { positions: changed && [...changed] }));
    }
    if (news) this.dispatchEvent(new News("recent", null));
  }
}

/** @param {number} ms */
function pause(ms) {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();
}
