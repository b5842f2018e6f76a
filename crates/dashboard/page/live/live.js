// @ts-check
import { api as pageApi, Problem } from "./api.js";
import { clock as pageClock } from "./clock.js";
import { Follower, pause, retryPause } from "./follower.js";
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
/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./clock.js").Clock} Clock */

/** Number of events kept. */
export const RECENT = 300;
/** Times in milliseconds: between two dispatches; between two loads. */
const FRAME = 16;
const APART = 250;
/** Time between two loads of the history, which costs the server more and is less urgent. */
const PAST_APART = 10_000;
/** Number of successive answers in which the server may count other holders than the page: two
 * while it is quiet, and more, at longer intervals, while events may still be under way. */
const DOUBTS = 4;
const DOUBTS_APART = 30_000;

/**
 * The page's view of the server; it keeps itself current. It dispatches:
 * - `pool`, detail {positions: number[] | null}: these tokens changed, or all (null)
 * - `recent`: an event happened
 * - `series`: the last minutes were read from the history
 * - `queue`: the queue changed
 * - `info`: the pool's figures were read
 */
export class Live extends Follower {
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
  /** The pool's name, once it is known. @type {string | null} */
  name = null;
  /** Whether the pool has ever granted a lease; null while that is unknown. @type {boolean | null} */
  used = null;

  #api;
  #openLine;
  /** @type {Line | null} */
  #line = null;
  #doubts = { count: 0, happened: false, endedAt: -Infinity };
  /** @type {Map<string, Happening>} by token, the last event that a list being read may lack */
  #kept = new Map();
  #pastAt = -Infinity;
  #readingPast = false;
  /** @type {Set<number> | null} positions that changed; null for all */
  #changed = new Set();
  #news = false;
  #toldAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #telling;

  /**
   * @param {{ api?: Pick<Api, "poolName" | "tokens" | "leases">, clock?: Clock,
   *   openLine?: (pool: string, tell: (message: Message) => void) => Line }} [parts]
   */
  constructor({ api = pageApi, clock = pageClock, openLine: open = openLine } = {}) {
    super(clock, APART);
    this.#api = api;
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
        this.connected("lost");
        await pause(retryPause(failures));
      }
    }
  }

  /** @param {Message} message */
  #take(message) {
    if (this.takesState(message)) return;
    if (message.type === "queue") return this.#setQueue(message.tickets);
    if (this.state === "live") this.currentAt = performance.now();
    if (message.type === "events") return this.#happened(JSON.parse(message.text));
    this.info = message.info;
    this.#learn(message);
    this.say("info");
    if (this.state === "live" && this.#doubt(message.info)) void this.load();
  }

  /** @param {Ticket[]} tickets */
  #setQueue(tickets) {
    this.queue = tickets;
    this.say("queue");
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
    doubts.count = same || this.isReading ? 0 : doubts.count + (quiet ? DOUBTS / 2 : 1);
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
      if (this.isReading) this.#kept.set(event.tokenId, event);
      if (this.series.apply(event)) this.recent.push(event);
      // A renewal has no time except the page's own guess.
      if (kind !== "renewed") latest = Math.max(latest, event.at);
    }
    if (latest > 0) this.clock.atLeast(latest);
    if (this.recent.length > RECENT) this.recent.splice(0, this.recent.length - RECENT);
    this.#news = true;
    if (strange && this.loaded) void this.load();
    this.#tell();
  }

  /** Reads the pool. Events are kept meanwhile, since a page of the list may be older than them.
   * @protected @override */
  async readOnce() {
    this.#kept.clear();
    this.#replace(await this.#api.tokens());
  }

  /** @protected @override */
  afterLoad() {
    this.#kept.clear();
    void this.#loadPast();
  }

  /** @param {Row[]} rows */
  #replace(rows) {
    // Another database has other tokens: the old events are not part of its history.
    const known = this.pool.tokens;
    if (this.loaded && known.length > 0 && rows.length > 0
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
    this.isRead();
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
      this.say("series");
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
      this.say("pool", { positions: changed && [...changed] });
    }
    if (news) this.say("recent");
  }
}
