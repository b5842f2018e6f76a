// @ts-check
import { api as pageApi } from "./api.js";
import { clock as pageClock } from "./clock.js";
import { Follower } from "./follower.js";
import { openLine } from "./line.js";
import { PoolList } from "./pool_list.js";
import { ALL } from "./stream.js";
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./stream.js").Message} Message */

/** Number of pools on a page: the most that the server sends. */
const PAGE = 1000;
/** Times in milliseconds: between two readings of a quiet list, and of one with doubts or further pages;
 * between two checks whether a reading is due. */
const EVERY = 10_000;
const SOONEST = 5000;
const LOOK = 1000;

/**
 * All pools, kept current: by the events of all pools at once, and by reading the list again while
 * the page is visible. It dispatches:
 * - `pools`: the list changed
 * - `told`, with `detail` {kind, data, version}[]: events happened
 */
export class Pools extends Follower {
  list = new PoolList();

  #api;
  #openLine;
  #isVisible;
  /** @type {Line | null} */
  #line = null;
  #epoch = 0;
  #readAt = -Infinity;
  /** Where the next page begins, when pages are read in turn. */
  #cursor = "";

  /**
   * @param {{ api?: Pick<Api, "request">, clock?: Clock, isVisible?: () => boolean,
   *   openLine?: (tell: (message: Message) => void) => Line }} [parts]
   */
  constructor({ api = pageApi, clock = pageClock, isVisible, openLine: open } = {}) {
    super(clock, 0);
    this.#api = api;
    this.#isVisible = isVisible ?? (() => document.visibilityState === "visible");
    this.#openLine = open ?? ((tell) => openLine(ALL, tell));
  }

  start() {
    this.#line ??= this.#openLine((message) => this.#take(message));
    return setInterval(() => this.look(), LOOK);
  }

  /** @param {Message} message */
  #take(message) {
    if (this.takesState(message)) return;
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
    this.say("told", told);
    this.say("pools");
  }

  /** Reads the whole list, page by page. @protected @override */
  async readOnce() {
    for (let after = "", whole = false; !whole; after = this.#cursor) {
      await this.#read(after);
      whole = this.#cursor === "";
    }
    this.isRead();
  }

  /** @protected @override */
  afterLoad() {
    this.say("pools");
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
    this.say("pools");
  }

  /** Reads a page if one is due: one with a doubtful pool, otherwise the next. */
  look() {
    if (!this.loaded || this.isReading || this.state !== "live" || !this.#isVisible()) return;
    const [doubtful] = this.list.doubts;
    const soon = doubtful !== undefined || this.list.rows.size > PAGE;
    if (performance.now() - this.#readAt < (soon ? SOONEST : EVERY)) return;
    const isOnePage = this.list.rows.size <= PAGE;
    const after = isOnePage ? "" : doubtful ? this.list.before(doubtful) : this.#cursor;
    this.isReading = true;
    const wanted = this.wanted;
    // A failure waits for the next reading: the events continue anyway.
    void this.#read(after).catch(() => {}).then(() => {
      this.isReading = false;
      if (wanted !== this.wanted) void this.load();
    });
  }

  /** Reads the list again at the next check, as after the user's own change. */
  hurry() {
    this.#readAt = -Infinity;
    this.look();
  }
}
