// @ts-check
import { onLanguage, word } from "../words/language.js";
import { make, part, setText } from "./dom.js";
import { actsOf } from "./edit/token_acts.js";
import { redraw, withTime } from "./frames.js";
import { isMe } from "./me.js";
import { theMenu } from "./menu.js";
import { shownTime } from "./moment.js";
import { addressOf, ALL, sameView, viewOf } from "./table/address.js";
import { rowsOf } from "./table/model.js";
import { Tools } from "./table/tools.js";
import { RowWindow } from "./table/window.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("./table/address.js").View} View */
/** @typedef {import("./edit/token_acts.js").TokenActs} TokenActs */

const KEPT = "token-manager.view";
/** Pause between two selections of the rows, in milliseconds, by the number of tokens: that of ten
 * thousand takes some time. */
const APART = 400;
const APART_LARGE = 1000;
const LARGE = 2000;

class Table {
  #live;
  #open;
  #acts;
  #tools;
  #window;
  /** @type {View} */
  #view = ALL;
  /** Whether the table is shown, and not the cells. */
  #shown = false;
  /** The token whose row Tab reaches. */
  #current = "";
  #selectedAt = -Infinity;
  /** @type {number | undefined} */
  #selecting;
  #pressed = false;

  /** @param {Live} live @param {(tokenId: string) => void} open @param {TokenActs} acts */
  constructor(live, open, acts) {
    this.#live = live;
    this.#open = open;
    this.#acts = acts;
    this.#tools = new Tools(live, (change) => this.#change(change));
    this.#window = new RowWindow(part("table-scroll"), part("table-body"), () => live.clock.now(),
      () => this.#makeCurrent());
    this.#makeSwitch();
    part("table-reset").addEventListener("click", () => {
      this.#change({ ...ALL, column: this.#view.column, down: this.#view.down });
      part("table-text").focus();
    });
    this.#listen();
    addEventListener("hashchange", () => this.#follow());
    for (const kind of ["pool", "state"]) live.addEventListener(kind, () => this.#later());
    withTime(() => this.#shown && this.#later());
    onLanguage(() => {
      this.#window.forget();
      this.#select();
    });
    this.#show(viewOf(location.hash) !== null || kept() === "table");
    this.#follow();
  }

  #makeSwitch() {
    const slot = part("views");
    slot.setAttribute("role", "group");
    for (const [view, key] of /** @type {const} */ ([["cells", "tableCells"], ["table", "tableRows"]])) {
      const button = make("button");
      button.type = "button";
      button.id = `view-${view}`;
      button.addEventListener("click", () => this.#choose(view === "table"));
      slot.append(button);
      const label = () => {
        setText(button, word(key));
        slot.setAttribute("aria-label", word("tableView"));
      };
      onLanguage(label);
      label();
    }
  }

  #listen() {
    const scroll = part("table-scroll");
    scroll.addEventListener("click", (event) => this.#click(event));
    scroll.addEventListener("contextmenu", (event) => this.#context(event));
    scroll.addEventListener("keydown", (event) => this.#key(event));
    scroll.addEventListener("focusin", ({ target }) => {
      const id = rowAt(target)?.dataset.tokenId;
      if (!id || id === this.#current) return;
      this.#current = id;
      this.#makeCurrent();
    });
    // A row about to be pressed stays in its place.
    scroll.addEventListener("pointerdown", () => (this.#pressed = true));
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, () => setTimeout(() => (this.#pressed = false)));
    }
  }

  /** Shows the view in the address, if it has one. */
  #follow() {
    const view = viewOf(location.hash);
    if (!view) return;
    this.#view = view;
    this.#show(true);
  }

  /** @param {boolean} shown */
  #choose(shown) {
    this.#show(shown);
    keep(shown ? "table" : "cells");
    this.#address();
  }

  /** @param {boolean} shown */
  #show(shown) {
    this.#shown = shown;
    part("tokens").dataset.view = shown ? "table" : "cells";
    part("table").hidden = !shown;
    part("view-table").setAttribute("aria-pressed", String(shown));
    part("view-cells").setAttribute("aria-pressed", String(!shown));
    this.#select();
  }

  /** @param {Partial<View>} change */
  #change(change) {
    const { column, down } = this.#view;
    // The same heading again turns the order around.
    if (Object.keys(change).length === 1 && change.column === column) change = { down: !down };
    else if (change.column && change.down === undefined) change = { ...change, down: false };
    this.#view = { ...this.#view, ...change };
    this.#address();
    part("table-scroll").scrollTop = 0;
    this.#select();
  }

  #address() {
    // The address of an open drawer is more important.
    if (location.hash.startsWith("#token=")) return;
    const { pathname, search } = location;
    const hash = this.#shown ? addressOf(this.#view) : "";
    if (hash !== location.hash) history.replaceState(history.state, "", pathname + search + hash);
  }

  /** Selects the rows after a pause, so that many events cost no more than a few. */
  #later() {
    if (!this.#shown || this.#selecting !== undefined) return;
    const apart = this.#live.pool.tokens.length > LARGE ? APART_LARGE : APART;
    const wait = Math.max(0, this.#selectedAt + apart - performance.now());
    this.#selecting = window.setTimeout(() => {
      this.#selecting = undefined;
      redraw(this.#draw);
    }, wait);
  }

  #draw = () => {
    if (this.#pressed || theMenu().isOpen) this.#later();
    else this.#select();
  };

  #select() {
    if (!this.#shown) return;
    this.#selectedAt = performance.now();
    const { pool } = this.#live;
    const now = shownTime(this.#live);
    const rows = rowsOf(pool, this.#view, now, isMe);
    this.#tools.show(this.#view);
    this.#window.show(rows);
    part("table-scroll").setAttribute("aria-rowcount", String(rows.length + 1));
    setText(part("table-count"),
      word("tableCount", { count: rows.length, all: pool.tokens.length }));
    part("table-none").hidden = rows.length > 0 || !this.#live.loaded;
    const { column, down } = this.#view;
    part("table-reset").hidden = sameView(this.#view, { ...ALL, column, down });
  }

  /** Index of the current row, or 0. */
  get #index() {
    const index = this.#window.rows.findIndex(({ token }) => token.id === this.#current);
    return Math.max(0, index);
  }

  /** Makes one row, with its buttons, the only one that Tab reaches. */
  #makeCurrent() {
    const lines = /** @type {HTMLElement[]} */ ([...part("table-body").querySelectorAll(".table-row")]);
    const current = lines.find(({ dataset }) => dataset.tokenId === this.#current) ?? lines[0];
    for (const line of lines) {
      const tabIndex = line === current ? 0 : -1;
      if (line.tabIndex === tabIndex) continue;
      line.tabIndex = tabIndex;
      for (const button of line.querySelectorAll("button")) button.tabIndex = tabIndex;
    }
  }

  /** @param {MouseEvent} event */
  #click({ target }) {
    const row = rowAt(target);
    const button = target instanceof Element ? target.closest("button") : null;
    if (!row || !(target instanceof Element)) return;
    if (button?.dataset.label) this.#change({ label: button.dataset.label });
    else if (button) this.#showMenu(row, button);
    // The end of a selection of text is no press.
    else if (getSelection()?.type !== "Range") this.#open(row.dataset.tokenId ?? "");
  }

  /** @param {MouseEvent} event */
  #context(event) {
    const row = rowAt(event.target);
    const button = row?.querySelector(".table-menu");
    if (!row || !(button instanceof HTMLElement)) return;
    event.preventDefault();
    this.#showMenu(row, button);
  }

  /** @param {HTMLElement} row @param {HTMLElement} button */
  #showMenu(row, button) {
    const token = this.#live.pool.token(row.dataset.tokenId ?? "");
    if (!token) return;
    const { id } = token;
    const acts = actsOf(token).map((act) => ({ text: word(act), act, off: !this.#acts.allows(act),
      run: () => this.#acts.run(act, id) }));
    theMenu().show(word("tableActsOf", { token: token.name }),
      [{ text: word("tableOpen"), act: "open", run: () => this.#open(id) }, ...acts], button);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target instanceof Element && target.closest(".table-head")) return;
    if (key === "Enter" && target instanceof Element && target.matches(".table-row")) {
      return this.#open(this.#current);
    }
    const last = this.#window.rows.length - 1;
    const page = Math.max(1, Math.floor(part("table-scroll").clientHeight / this.#window.height) - 2);
    const index = this.#index;
    const next = { ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page,
      PageUp: index - page, Home: 0, End: last }[key];
    if (next === undefined || last < 0) return;
    event.preventDefault();
    const wanted = Math.min(last, Math.max(0, next));
    this.#current = this.#window.rows[wanted].token.id;
    this.#window.reveal(wanted);
    this.#window.line(wanted)?.focus({ preventScroll: true });
  }
}

/** @param {EventTarget | null} target @returns {HTMLElement | null} */
function rowAt(target) {
  return target instanceof Element ? target.closest(".table-row") : null;
}

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

/** @param {string} view */
function keep(view) {
  try {
    localStorage.setItem(KEPT, view);
  } catch {
    // Without storage the choice lasts until the page is closed.
  }
}

/**
 * The tokens as a table, beside the cells.
 * @param {Live} live
 * @param {(tokenId: string) => void} open the drawer of a token
 * @param {TokenActs} acts
 */
export function startTable(live, open, acts) {
  new Table(live, open, acts);
}
