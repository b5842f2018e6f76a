// @ts-check
import { api as pageApi } from "./api.js";
import { backoff } from "./backoff.js";
import { clock as pageClock } from "./clock.js";
import { openLine } from "./line.js";
import { PoolList } from "./pool_list.js";
import { ALL } from "./stream.js";
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./stream.js").Message} Message */
/** @typedef {import("./stream.js").State} State */

/** Number of pools on a page: the most that the server sends. */
const PAGE = 1000;
/** Times in milliseconds: between attempts to load; between two readings of a quiet list, and of
 * one with doubts or further pages; between two checks whether a reading is due. */
const RETRY = 500;
const RETRY_MOST = 5000;
const EVERY = 10_000;
const SOONEST = 5000;
const LOOK = 1000;

/**
 * All pools, kept current: by the events of all pools at once, and by reading the list again while
 * the page is visible. It dispatches:
 * - `pools`: the list changed
 * - `told`, with `detail` {kind, data, version}[]: events happened
 * - `state`, also when the reason of a lost connection changes
 */
export class Pools extends EventTarget {
  list = new PoolList();
  /** @type {State} */
  state = "connecting";
  /** Why a reachable server opens no stream: a problem code. @type {string | undefined} */
  why;
  /** Why the list can't be read, while it can't. @type {unknown} */
  problem = null;
  /** When the list was last known to be current, by performance.now(). */
  currentAt = 0;
  /** Whether the list was read completely. */
  loaded = false;
  clock;

  #api;
  #openLine;
  #isVisible;
  /** @type {Line | null} */
  #line = null;
  /** @type {State} */
  #connection = "connecting";
  #epoch = 0;
  /** Whether the known list is older than the last loss of the connection. */
  #old = false;
  #reading = false;
  /** Number of times that the whole list had to be read. */
  #wanted = 0;
  #readAt = -Infinity;
  /** Where the next page begins, when pages are read in turn. */
  #cursor = "";
  #wake = () => {};
  #told = "connecting undefined false";

  /**
   * @param {{ api?: Pick<Api, "request">, clock?: Clock, isVisible?: () => boolean,
   *   openLine?: (tell: (message: Message) => void) => Line }} [parts]
   */
  constructor({ api = pageApi, clock = pageClock, isVisible, openLine: open } = {}) {
    super();
    this.#api = api;
    this.clock = clock;
    this.#isVisible = isVisible ?? (() => document.visibilityState === "visible");
    this.#openLine = open ?? ((tell) => openLine(ALL, tell));
  }

  start() {
    this.#line ??= this.#openLine((message) => this.#take(message));
    return setInterval(() => this.look(), LOOK);
  }

  /** @param {Message} message */
  #take(message) {
    if (message.type === "state") {
      this.why = message.why;
      return this.#connected(message.state);
    }
    if (message.type === "load") {
      if (this.state === "lost") this.#old = true;
      return void this.#load();
    }
    if (this.state === "live") this.currentAt = performance.now();
    if (message.type === "events") this.#happened(JSON.parse(message.text));
  }

  /** @param {[string, any, string][]} events */
  #happened(events) {
    let latest = 0;
    const told = events.map(([kind, data, id]) => {
      const at = kind === "ended" ? data.ended_at : kind === "started" ? data.started_at : null;
      if (at) latest = Math.max(latest, Date.parse(at));
      return { kind, data, version: Number(id.split("-")[1]) };
    });
    if (latest > 0) this.clock.atLeast(latest);
    for (const one of told) this.list.apply(one);
    this.#say("told", told);
    this.#say("pools");
  }

  /** Reads the whole list, page by page, and again if that was requested meanwhile. */
  async #load() {
    this.#wanted += 1;
    if (this.#reading) return;
    this.#reading = true;
    for (let failures = 0, done = 0; done < this.#wanted; ) {
      const wanted = this.#wanted;
      try {
        for (let after = "", whole = false; !whole; after = this.#cursor) {
          await this.#read(after);
          whole = this.#cursor === "";
        }
        failures = 0;
        this.problem = null;
        this.loaded = true;
        this.#old = false;
        done = wanted;
      } catch (problem) {
        failures += 1;
        this.problem = problem;
      }
      this.#connected(this.#connection);
      if (failures > 0) await this.#pause(backoff(failures - 1, RETRY, RETRY_MOST));
    }
    this.#reading = false;
    this.#say("pools");
  }

  /** Reads the page of the list that begins after a name. @param {string} after */
  async #read(after) {
    this.#readAt = performance.now();
    this.list.expect();
    try {
      const path = `/api/pools?limit=${PAGE}${after && `&after=${encodeURIComponent(after)}`}`;
      const { body } = await this.#api.request(path);
      if (body.epoch !== this.#epoch) {
        this.list.clear();
        this.#epoch = body.epoch;
      }
      this.list.read(after, body);
      this.#cursor = body.next === null ? "" : body.pools[body.pools.length - 1].name;
    } catch (problem) {
      this.list.giveUp();
      throw problem;
    }
    this.currentAt = performance.now();
    this.#say("pools");
  }

  /** Reads a page if one is due: one with a doubtful pool, otherwise the next. */
  look() {
    if (!this.loaded || this.#reading || this.state !== "live" || !this.#isVisible()) return;
    const [doubtful] = this.list.doubts;
    const soon = doubtful !== undefined || this.list.rows.size > PAGE;
    if (performance.now() - this.#readAt < (soon ? SOONEST : EVERY)) return;
    const isOnePage = this.list.rows.size <= PAGE;
    const after = isOnePage ? "" : doubtful ? this.list.before(doubtful) : this.#cursor;
    this.#reading = true;
    const wanted = this.#wanted;
    // A failure waits for the next reading: the events continue anyway.
    void this.#read(after).catch(() => {}).then(() => {
      this.#reading = false;
      if (wanted !== this.#wanted) void this.#load();
    });
  }

  /** Reads the list again at the next check, as after the user's own change. */
  hurry() {
    this.#readAt = -Infinity;
    this.look();
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

  /** @param {State} connection */
  #connected(connection) {
    if (connection === "live" && this.#connection !== "live") this.#wake();
    this.#connection = connection;
    // A connection is useless to a page that can't read the events that it missed.
    const own = this.problem || this.#old ? "lost" : this.loaded ? "live" : "connecting";
    const state = connection === "live" ? own : connection;
    const told = `${state} ${this.why} ${Boolean(this.problem)}`;
    if (told === this.#told) return;
    this.#told = told;
    this.state = state;
    this.#say("state");
  }

  /** @param {string} type @param {any} [detail] */
  #say(type, detail = null) {
    this.dispatchEvent(Object.assign(new Event(type), { detail }));
  }
}
