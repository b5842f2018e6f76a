// @ts-check
import { onLanguage, word } from "../../words/language.js";
import { arrange, part, setText } from "../dom.js";
import { redraw, withTime } from "../frames.js";
import { shownTime } from "../moment.js";
import { isColumn, listed } from "./order.js";
import { Row } from "./row.js";
/** @typedef {import("../../live/pools.js").Pools} Pools */
/** @typedef {import("../../live/pool_list.js").PoolRow} PoolRow */
/** @typedef {import("./order.js").Order} Order */
/** @typedef {import("./order.js").Column} Column */

const KEPT = "token-manager.pools.order";
/** Largest number of pools that are all in the document: of more, those near the visible part. */
const ALL = 60;
/** Rows before and after the visible ones. */
const AROUND = 8;
/** Time between two changes of the order by figures, in milliseconds: rows that move all the time
 * can't be read. */
const CALM = 3000;

/** @returns {Order} */
function keptOrder() {
  try {
    const { column, reverse } = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    if (isColumn(column)) return { column, reverse: reverse === true };
  } catch {
    // Without storage, or with other content, the pools are in the order of their names.
  }
  return { column: "name", reverse: false };
}

/** The pools as rows, of which only those near the visible part exist. */
class List {
  #pools;
  #table = part("pools");
  #body = part("pools-body");
  #heads = /** @type {HTMLButtonElement[]} */ ([...part("pools-head").querySelectorAll("button")]);
  #order = keptOrder();
  #query = "";
  /** @type {PoolRow[]} */
  #listed = [];
  /** @type {Map<string, Row>} the rows in the document */
  #rows = new Map();
  /** Name of the pool whose link is the list's stop for Tab. */
  #stop = "";
  #height = 0;
  #sorted = { members: -1, at: -Infinity };
  #pressed = false;

  /** @param {Pools} pools */
  constructor(pools) {
    this.#pools = pools;
    for (const head of this.#heads) {
      head.addEventListener("click", () => this.#sortBy(head.dataset.column));
    }
    const body = this.#body;
    body.addEventListener("keydown", (event) => this.#key(event));
    body.addEventListener("focusin", ({ target }) => {
      const row = target instanceof Element ? target.closest(".pool") : null;
      if (row instanceof HTMLElement) this.#stopAt(row.dataset.pool ?? "");
    });
    // A row that is being pressed stays in its place.
    body.addEventListener("pointerdown", () => (this.#pressed = true));
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, () => (this.#pressed = false));
    }
    addEventListener("scroll", () => requestAnimationFrame(() => this.draw()), { passive: true });
    addEventListener("resize", () => {
      this.#height = 0;
      redraw(() => this.draw());
    });
  }

  /** Shows only the pools that fit a query. @param {string} query */
  filter(query) {
    this.#query = query;
    this.#sort();
    this.draw();
  }

  get found() {
    return this.#listed.length;
  }

  /** Name of the first pool in the list. */
  get first() {
    return this.#listed[0]?.name;
  }

  /** @param {string | undefined} column */
  #sortBy(column) {
    if (!isColumn(column)) return;
    const reverse = this.#order.column === column && !this.#order.reverse;
    this.#order = { column, reverse };
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.#order));
    } catch {
      // Without storage the order lasts until the page is closed.
    }
    this.#sort();
    this.draw();
  }

  #sort() {
    const { list } = this.#pools;
    this.#listed = listed(list.rows.values(), this.#query, this.#order);
    this.#sorted = { members: list.members, at: performance.now() };
    const { column, reverse } = this.#order;
    for (const head of this.#heads) {
      const isBy = head.dataset.column === column;
      // Figures begin with the largest, except times.
      const falls = (column === "used" || column === "waiting") !== reverse;
      const sort = !isBy ? "none" : falls ? "descending" : "ascending";
      head.parentElement?.setAttribute("aria-sort", sort);
    }
  }

  /** Draws the visible rows, in a new order if that is due. */
  refresh() {
    const { members, at } = this.#sorted;
    const isDue = this.#order.column !== "name" && performance.now() - at >= CALM && !this.#pressed;
    if (members !== this.#pools.list.members || isDue) this.#sort();
    else this.#replaceRows();
    this.draw();
  }

  /** After a page was read, the rows are new objects. */
  #replaceRows() {
    const { rows } = this.#pools.list;
    this.#listed = this.#listed.map((row) => rows.get(row.name) ?? row);
  }

  draw() {
    const count = this.#listed.length;
    const body = this.#body;
    // Rows of a hidden table have no height.
    this.#table.hidden = count === 0;
    this.#height ||= this.#measure();
    const height = this.#height;
    body.style.height = `${count * height}px`;
    this.#table.ariaRowCount = String(count + 1);
    if (!this.#listed.some(({ name }) => name === this.#stop)) this.#stop = this.first ?? "";
    const focused = document.activeElement;
    const hadFocus = focused !== null && body.contains(focused);
    const now = shownTime(this.#pools);
    const shown = this.#visible(count, height).map((index) => ({ index, pool: this.#listed[index] }));
    const rows = this.#rowsOf(shown.map(({ pool }) => pool.name));
    for (const { index, pool } of shown) {
      const row = /** @type {Row} */ (rows.get(pool.name));
      row.draw(pool, now);
      row.place(index, height);
      row.link.tabIndex = pool.name === this.#stop ? 0 : -1;
    }
    this.#rows = rows;
    arrange(body, [...rows.values()].map(({ element }) => element));
    // An element that moves loses the focus, and so does one whose pool was deleted.
    if (hadFocus && !body.contains(document.activeElement)) this.#focus(this.#stop, true);
  }

  /** Rows of these pools, in this order. Those of pools that are no longer visible are used again.
   * @param {string[]} names */
  #rowsOf(names) {
    const wanted = new Set(names);
    const spare = [...this.#rows].filter(([name]) => !wanted.has(name)).map(([, row]) => row);
    return new Map(names.map((name) =>
      [name, this.#rows.get(name) ?? spare.pop()?.showPool(name) ?? new Row(name)]));
  }

  /** Positions in the list of the rows to draw, in order. @param {number} count
   * @param {number} height */
  #visible(count, height) {
    const stop = this.#listed.findIndex(({ name }) => name === this.#stop);
    const above = -this.#body.getBoundingClientRect().top;
    const first = count <= ALL ? 0 : Math.max(0, Math.floor(above / height) - AROUND);
    const last = count <= ALL ? count
      : Math.min(count, Math.ceil((above + innerHeight) / height) + AROUND);
    const indices = [];
    for (let index = first; index < last; index += 1) indices.push(index);
    // Tab has to find its stop, and the focus must not disappear.
    if (stop >= 0 && stop < first) indices.unshift(stop);
    if (stop >= last) indices.push(stop);
    return indices;
  }

  /** Height of a row, which depends on the width of the page and the size of its text. */
  #measure() {
    const sample = new Row("a").element;
    this.#body.append(sample);
    const height = sample.offsetHeight;
    sample.remove();
    return height;
  }

  /** @param {string} name */
  #stopAt(name) {
    if (name === this.#stop) return;
    const before = this.#rows.get(this.#stop);
    if (before) before.link.tabIndex = -1;
    this.#stop = name;
    const row = this.#rows.get(name);
    if (row) row.link.tabIndex = 0;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.#listed.findIndex(({ name }) => name === this.#stop);
    const page = Math.max(1, Math.floor(innerHeight / this.#height) - 3);
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity,
      End: Infinity };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const to = Math.min(this.#listed.length - 1, Math.max(0, at + step));
    if (to === at && step === -1) return part("search").focus();
    this.#focus(this.#listed[to].name);
  }

  /** Moves the focus to the first pool. */
  enter() {
    if (this.first !== undefined) this.#focus(this.first);
  }

  /** @param {string} name @param {boolean} [still] whether the page stays where it is */
  #focus(name, still = false) {
    const index = this.#listed.findIndex((row) => row.name === name);
    if (index < 0) return;
    this.#stopAt(name);
    if (!still) {
      const top = this.#body.getBoundingClientRect().top + index * this.#height;
      // The bar and the heads of the columns stay above the rows.
      const least = 110;
      const most = innerHeight - this.#height - 8;
      if (top < least) scrollBy(0, top - least);
      else if (top > most) scrollBy(0, top - most);
    }
    if (!this.#rows.has(name)) this.draw();
    this.#rows.get(name)?.link.focus({ preventScroll: true });
  }
}

/** @param {Pools} pools */
export function startList(pools) {
  const list = new List(pools);
  const refresh = () => {
    list.refresh();
    part("pools").setAttribute("aria-busy", String(!pools.loaded));
    const isEmpty = pools.list.rows.size === 0;
    part("pools-loading").hidden = pools.loaded || !isEmpty;
    const none = list.found === 0 && (pools.loaded || !isEmpty);
    part("pools-none").hidden = !none;
    if (none) setText(part("pools-none"), word(isEmpty ? "poolsEmpty" : "poolsNone"));
  };
  for (const kind of ["pools", "state"]) pools.addEventListener(kind, () => redraw(refresh));
  withTime(refresh);
  onLanguage(refresh);
  return {
    /** @param {string} query */
    filter(query) {
      list.filter(query);
      refresh();
    },
    enter: () => list.enter(),
    first: () => list.first,
    found: () => list.found,
  };
}
