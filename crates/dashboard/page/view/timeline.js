// @ts-check
import { api } from "../live/api.js";
import { rough } from "../words/duration.js";
import { fillWords, onLanguage, word } from "../words/language.js";
import { ago, timeOfDay } from "../words/time.js";
import { arrange, make, nameOf, part, setText } from "./dom.js";
import { withTime } from "./frames.js";
import { keyNames } from "./key_names.js";
import { problemWords } from "./problem.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/shape.js").PastLease} PastLease */

/** Why a lease ended, in words. @param {PastLease} lease */
export const reasonWords = ({ reason }) => word(reason ? `reason-${reason}` : "reasonRunning");

/** Which API keys granted and ended a lease, in words. @param {PastLease} lease */
function keyWords({ by, endedBy }) {
  if (by !== null && by === endedBy) return word("leaseByBoth", { key: keyNames.of(by) });
  return [by && word("leaseBy", { key: keyNames.of(by) }),
    endedBy && word("leaseEndedBy", { key: keyNames.of(endedBy) })].filter(Boolean).join(" · ");
}

/** Shortest time between two reads of the newest leases, in milliseconds, and maximum number of
 * rows kept: scrolling reads the older ones again. */
const APART = 1000;
const KEPT = 500;

/** Leases of a token, newest first; scrolling reads more. */
export class Timeline {
  #live;
  #list = part("timeline");
  #more = part("timeline-more", HTMLButtonElement);
  #seen;
  #tokenId = "";
  /** @type {PastLease[]} */
  #rows = [];
  /** @type {string | undefined} */
  #next;
  /** @type {Map<string, HTMLElement>} by the data that they show */
  #items = new Map();
  #reading = false;
  #stale = false;
  #readAt = -Infinity;
  #later = 0;
  #failed = "";

  /** @param {Live} live */
  constructor(live) {
    this.#live = live;
    this.#more.addEventListener("click", () => this.#readMore());
    this.#seen = new IntersectionObserver(
      (seen) => seen.at(-1)?.isIntersecting && this.#readMore(),
      { root: part("drawer-body"), rootMargin: "240px" });
    this.#seen.observe(this.#more);
    this.#list.addEventListener("click", ({ target }) => this.#goTo(target));
    onLanguage(() => this.#draw());
    keyNames.addEventListener("change", () => this.#draw());
    withTime(() => this.#tokenId && this.#drawTimes());
  }

  /** @param {string} tokenId empty for no token */
  show(tokenId) {
    this.#tokenId = tokenId;
    this.#rows = [];
    this.#next = undefined;
    this.#readAt = -Infinity;
    this.#failed = "";
    this.#list.replaceChildren();
    this.#more.hidden = true;
    if (tokenId) this.refresh();
  }

  /** Reads the newest leases again; older ones don't change. */
  async refresh() {
    clearTimeout(this.#later);
    if (this.#reading) {
      this.#stale = true;
      return;
    }
    const wait = this.#readAt + APART - performance.now();
    if (wait > 0) {
      this.#later = window.setTimeout(() => this.#tokenId && this.refresh(), wait);
      return;
    }
    this.#readAt = performance.now();
    const first = this.#rows.length === 0;
    await this.#read(undefined, ({ rows, next }) => {
      const read = new Set(rows.map(({ id }) => id));
      const known = this.#rows.some(({ id }) => read.has(id));
      if (first || !known) this.#next = next;
      this.#rows = known ? [...rows, ...this.#rows.filter(({ id }) => !read.has(id))] : rows;
      // An open timeline would grow forever; at its top, the rows far below are not missed.
      if (this.#rows.length > KEPT && part("drawer-body").scrollTop < innerHeight) {
        this.#rows = rows;
        this.#next = next;
      }
    });
  }

  async #readMore() {
    if (this.#failed && this.#next === undefined) return this.refresh();
    if (this.#reading || this.#next === undefined) return;
    await this.#read(this.#next, ({ rows, next }) => {
      const known = new Set(this.#rows.map(({ id }) => id));
      this.#rows.push(...rows.filter(({ id }) => !known.has(id)));
      this.#next = next;
    });
  }

  /**
   * @param {string | undefined} from
   * @param {(page: { rows: PastLease[], next: string | undefined }) => void} take
   */
  async #read(from, take) {
    const tokenId = this.#tokenId;
    this.#reading = true;
    this.#draw();
    try {
      const { leases, next } = await api.leases({ token_id: tokenId, limit: 50 }, from);
      this.#failed = "";
      if (tokenId === this.#tokenId) take({ rows: leases, next });
    } catch (error) {
      this.#failed = problemWords(error, true);
    }
    this.#reading = false;
    if (tokenId === this.#tokenId) this.#draw();
    if (!this.#failed) this.#lookAgain();
    if (tokenId !== this.#tokenId || this.#stale) {
      this.#stale = false;
      if (this.#tokenId) this.refresh();
    }
  }

  /** Restarts the observer, which reports only changes: the end may still be visible. */
  #lookAgain() {
    this.#seen.unobserve(this.#more);
    this.#seen.observe(this.#more);
  }

  #draw() {
    if (!this.#tokenId) return;
    const known = new Map(this.#rows.map((lease) => [lease.id, lease]));
    /** @type {Map<string, HTMLElement>} */
    const items = new Map();
    for (const lease of this.#rows) {
      const successor = lease.evictedBy ? known.get(lease.evictedBy) : undefined;
      const { id, endedAt } = lease;
      const { lang } = document.documentElement;
      const key = `${id} ${endedAt} ${lang} ${successor !== undefined} ${keyWords(lease)}`;
      items.set(key, this.#items.get(key) ?? this.#item(lease, successor));
    }
    this.#items = items;
    arrange(this.#list, [...items.values()]);
    this.#more.hidden = this.#next === undefined && !this.#failed;
    const empty = this.#rows.length === 0;
    setText(part("timeline-note"), this.#failed
      ? word("historyFailed", { why: this.#failed })
      : this.#reading && empty ? word("historyLoading")
        : empty ? word("historyNone") : this.#next === undefined ? word("historyEnd") : "");
    this.#drawTimes();
  }

  #drawTimes() {
    const now = this.#live.clock.now();
    for (const item of this.#list.children) {
      const from = Number(item.getAttribute("data-from"));
      const to = Number(item.getAttribute("data-to"));
      const [length, when] = item.querySelectorAll(".length, .ago");
      setText(length, to ? word("heldFor", { length: rough(to - from) })
        : word("heldSoFar", { length: rough(Math.max(1000, now - from)) }));
      if (to) setText(when, `${ago(now - to)} · `);
    }
  }

  /** @param {PastLease} lease @param {PastLease | undefined} successor */
  #item(lease, successor) {
    const why = make("span");
    if (successor) {
      const link = make("button", "link", nameOf(successor.user));
      link.type = "button";
      link.dataset.leaseId = successor.id;
      fillWords(why, "reasonEvictedFor", { user: link });
    } else {
      why.textContent = reasonWords(lease);
    }
    const { startedAt, endedAt } = lease;
    const exact = endedAt === null ? word("drawerSince", { time: timeOfDay(startedAt) })
      : `${timeOfDay(startedAt)} – ${timeOfDay(endedAt)}`;
    const item = make("li", "", make("i", "sign"), make("div", "",
      make("p", "who", nameOf(lease.user)),
      make("p", "", why, " · ", make("span", "length")),
      make("p", "times", make("span", "ago"), exact)));
    const keys = keyWords(lease);
    if (keys) item.lastElementChild?.append(make("p", "times by", keys));
    item.tabIndex = -1;
    item.dataset.leaseId = lease.id;
    item.dataset.reason = lease.reason ?? "running";
    item.dataset.from = String(startedAt);
    item.dataset.to = String(endedAt ?? 0);
    return item;
  }

  /** Goes from an evicted lease to its successor. @param {EventTarget | null} target */
  #goTo(target) {
    const link = target instanceof Element ? target.closest("button") : null;
    const id = link?.dataset.leaseId;
    const item = [...this.#list.children].find((item) => item.getAttribute("data-lease-id") === id);
    if (!(item instanceof HTMLElement)) return;
    item.focus({ preventScroll: true });
    item.scrollIntoView({ block: "center" });
    item.classList.remove("pointed");
    requestAnimationFrame(() => item.classList.add("pointed"));
  }
}
