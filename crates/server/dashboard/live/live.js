// @ts-check
import { api as pageApi } from "./api.js";
import { clock as pageClock } from "./clock.js";
import { openLine } from "./line.js";
import { happeningsOf, readPast } from "./past.js";
import { Pool } from "./pool.js";
import { Series } from "./series.js";
import { happeningOf } from "./shape.js";
/** @typedef {import("./shape.js").Happening} Happening */
/** @typedef {import("./shape.js").Info} Info */
/** @typedef {import("./shape.js").Row} Row */
/** @typedef {import("./stream.js").Message} Message */
/** @typedef {import("./stream.js").State} State */
/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./clock.js").Clock} Clock */

/** How many events are kept. */
export const RECENT = 300;
/** Times in milliseconds: between two dispatches; between attempts to load; between two loads. */
const FRAME = 16;
const RETRY = 500;
const RETRY_MOST = 5000;
const APART = 250;
/** The same for the history, which is more work for the server, and not as urgent. */
const PAST_APART = 10_000;

/** An event that says what it is about: CustomEvent is younger than some that run the tests. */
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
 * All that the page knows of the server, kept current by itself. It dispatches:
 * - `pool`, detail {positions: number[] | null}: these tokens changed, or all (null)
 * - `recent`: something happened
 * - `series`: the last minutes were read from the history
 * - `info`, `state`
 * - `problem`, detail: the Problem for which the pool could not be read; it is tried again
 */
export class Live extends EventTarget {
  pool = new Pool();
  series = new Series();
  /** @type {Info | null} */
  info = null;
  /** @type {Happening[]} oldest first */
  recent = [];
  /** @type {State} */
  state = "connecting";
  /** When the server was last heard of, by performance.now(). */
  lastHeard = 0;
  clock;

  #api;
  #openLine;
  /** @type {Line | null} */
  #line = null;
  /** @type {State} of the stream; the page is live only if the pool was read, too */
  #connection = "connecting";
  #loaded = false;
  #failing = false;
  #loading = false;
  #wake = () => {};
  /** How often the pool had to be read, so that what was read too early is known. */
  #wanted = 0;
  /** The size that the server told when the pool was read. */
  #size = -1;
  /** @type {Map<string, Happening>} by token, the last event that a list under way may lack */
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
   * @param {{ api?: Pick<Api, "tokens" | "leases">, clock?: Clock,
   *   openLine?: (tell: (message: Message) => void) => Line }} [parts]
   */
  constructor({ api = pageApi, clock = pageClock, openLine: open = openLine } = {}) {
    super();
    this.#api = api;
    this.clock = clock;
    this.#openLine = open;
  }

  start() {
    this.#line ??= this.#openLine((message) => this.#take(message));
  }

  /** Whether the tokens were read at all. */
  get loaded() {
    return this.#loaded;
  }

  /** The last ten minutes, in buckets of two seconds. */
  buckets() {
    const now = this.clock.now();
    return this.series.buckets(now, this.pool.counts(now).active, this.pool.overdue(now));
  }

  /** @param {Message} message */
  #take(message) {
    if (message.type === "state") return this.#connected(message.state);
    if (message.type === "load") return void this.#load();
    this.lastHeard = performance.now();
    if (message.type === "events") return this.#happened(JSON.parse(message.text));
    this.info = message.info;
    this.#learn(message);
    this.dispatchEvent(new News("info", null));
    // A server that was started with more tokens has others than the ones that are known.
    if (this.#loaded && this.info.size !== this.#size) void this.#load();
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
    for (const [kind, data] of told) {
      const event = happeningOf(kind, data, now);
      const position = this.pool.apply(event);
      if (position >= 0) this.#changed?.add(position);
      event.position = this.pool.token(event.tokenId)?.position ?? -1;
      if (event.position < 0) strange = true;
      if (this.#loading) this.#kept.set(event.tokenId, event);
      if (this.series.apply(event)) this.recent.push(event);
      latest = Math.max(latest, event.at);
    }
    if (told[told.length - 1][0] !== "renewed") this.clock.atLeast(latest);
    if (this.recent.length > RECENT) this.recent.splice(0, this.recent.length - RECENT);
    this.#news = true;
    if (strange && this.#loaded) void this.#load();
    this.#tell();
  }

  /** Reads the pool; what happens meanwhile is kept, since a page of the list may be older. */
  async #load() {
    this.#wanted += 1;
    if (this.#loading) return;
    this.#loading = true;
    for (let failures = 0, done = 0; done < this.#wanted; ) {
      const wanted = this.#wanted;
      this.#kept.clear();
      try {
        const size = this.info?.size;
        const rows = await this.#api.tokens();
        this.#size = size ?? rows.length;
        this.#replace(rows);
        failures = 0;
        done = wanted;
      } catch (problem) {
        failures += 1;
        if (failures === 1) this.dispatchEvent(new News("problem", problem));
      }
      this.#failing = failures > 0;
      this.#connected(this.#connection);
      if (failures > 0) await this.#pause(Math.min(RETRY_MOST, RETRY * 2 ** (failures - 1)));
      else if (done < this.#wanted) await pause(APART);
    }
    this.#loading = false;
    this.#kept.clear();
    void this.#loadPast();
  }

  /**
   * Until the next attempt, which is due at once when the server is back.
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
    this.pool.replace(rows);
    for (const event of this.#kept.values()) this.pool.apply(event);
    for (const event of this.recent) this.#place(event);
    this.#loaded = true;
    this.#changed = null;
    this.#tellNow();
  }

  /** Reads the last minutes. What failed is left for the next time: the events go on anyway. */
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
      this.dispatchEvent(new News("series", null));
    } catch {
      this.series.giveUp();
    }
    this.#readingPast = false;
  }

  /**
   * Puts what the history says before and between what was told.
   * @param {Happening[]} past
   */
  #remember(past) {
    const told = this.recent;
    const known = new Set(told.map(({ kind, fence }) => `${kind} ${fence}`));
    const missed = past.filter(({ kind, fence }) => !known.has(`${kind} ${fence}`));
    if (missed.length === 0) return;
    for (const event of missed) this.#place(event);
    // Sorting is stable: what was told keeps its order within a moment.
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
    // A connection is of no use to a page that can't read what it missed.
    const own = this.#failing ? "lost" : this.#loaded ? "live" : "connecting";
    const state = connection === "live" ? own : connection;
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new News("state", null));
  }

  /** Says what changed: at once, but not more often than a screen shows it. */
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
