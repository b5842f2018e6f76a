// @ts-check
import { word } from "../../words/language.js";
import { countdown } from "../../words/time.js";
import { make, nameOf, setText } from "../dom.js";
/** @typedef {import("./model.js").Row} Row */
/** @typedef {import("../../live/pool.js").Token} Token */
/** @typedef {import("../../words/language.js").Key} Key */

/** Rows drawn above and below the visible ones. */
const BEYOND = 8;
/** Most labels and taints of a row that are drawn. */
const CHIPS = 2;

/** @type {Record<Row["status"], Key>} */
const STATUS = { active: "statusActive", available: "statusAvailable", tainted: "statusTainted" };

/** @typedef {{ row: HTMLElement, cells: HTMLElement[], key: string }} Line */

/** The rows around the visible part of a long list; others exist only as height. */
export class RowWindow {
  #scroll;
  #body;
  #before = make("div", "table-space");
  #after = make("div", "table-space");
  /** @type {Row[]} */
  #rows = [];
  /** @type {Map<string, Line>} by token */
  #lines = new Map();
  #now;
  #drawn;
  #from = -1;
  #until = -1;

  /**
   * @param {HTMLElement} scroll @param {HTMLElement} body @param {() => number} now
   * @param {() => void} drawn is called after other rows were drawn
   */
  constructor(scroll, body, now, drawn) {
    this.#drawn = drawn;
    this.#scroll = scroll;
    this.#body = body;
    for (const space of [this.#before, this.#after]) space.setAttribute("role", "presentation");
    this.#now = now;
    let asked = false;
    scroll.addEventListener("scroll", () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        this.draw();
      });
    }, { passive: true });
    new ResizeObserver(() => this.draw()).observe(scroll);
  }

  /** Height of a row, which the style sheet chooses. */
  get height() {
    return parseFloat(getComputedStyle(this.#scroll).getPropertyValue("--row")) || 40;
  }

  get rows() {
    return this.#rows;
  }

  /** @param {Row[]} rows */
  show(rows) {
    this.#rows = rows;
    this.draw();
  }

  /** Makes all rows again, in another language. */
  forget() {
    this.#lines.clear();
  }

  draw() {
    const { height } = this;
    const { scrollTop, clientHeight } = this.#scroll;
    if (this.#scroll.getClientRects().length === 0) return;
    const count = this.#rows.length;
    const from = Math.max(0, Math.min(count, Math.floor(scrollTop / height)) - BEYOND);
    const until = Math.min(count, Math.ceil((scrollTop + clientHeight) / height) + BEYOND);
    [this.#from, this.#until] = [from, until];
    const now = this.#now();
    /** @type {Map<string, Line>} */
    const lines = new Map();
    const shown = this.#rows.slice(from, until).map((row, i) => {
      const line = this.#lines.get(row.token.id) ?? makeLine(row.token);
      lines.set(row.token.id, line);
      fillLine(line, row, now);
      line.row.ariaRowIndex = String(from + i + 2);
      line.row.dataset.index = String(from + i);
      return line.row;
    });
    this.#lines = lines;
    this.#before.style.height = `${from * height}px`;
    this.#after.style.height = `${(count - until) * height}px`;
    // A row that leaves the window takes the focus with it, but the keys must go on working.
    const focused = document.activeElement?.closest(".table-row");
    if (focused && this.#body.contains(focused) && !shown.includes(/** @type {any} */ (focused))) {
      this.#scroll.focus({ preventScroll: true });
    }
    place(this.#body, [this.#before, ...shown, this.#after]);
    this.#drawn();
  }

  /** The row of an index, if it is drawn. @param {number} index */
  line(index) {
    const row = this.#rows[index];
    if (!row || index < this.#from || index >= this.#until) return undefined;
    return this.#lines.get(row.token.id)?.row;
  }

  /** Scrolls until a row is visible. @param {number} index */
  reveal(index) {
    const { height } = this;
    const { scrollTop, clientHeight } = this.#scroll;
    const head = this.#body.offsetTop;
    const top = index * height;
    if (top < scrollTop) this.#scroll.scrollTop = top;
    else if (top + height + head > scrollTop + clientHeight) {
      this.#scroll.scrollTop = top + height + head - clientHeight;
    }
    this.draw();
  }
}

/** Makes these the children, moving no element that stays where it is: it may have the focus.
 * @param {Element} parent @param {Element[]} children */
function place(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, i) => {
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
  });
}

/** @param {Token} token @returns {Line} */
function makeLine(token) {
  const cells = ["token", "status", "holder", "note", "left", "labels", "taints", "acts"]
    .map((column) => {
      const cell = make("div", `table-cell col-${column}`);
      cell.setAttribute("role", "gridcell");
      return cell;
    });
  const menu = make("button", "quiet icon-only table-menu", "⋯");
  menu.type = "button";
  menu.tabIndex = -1;
  menu.setAttribute("aria-haspopup", "menu");
  cells[7].append(menu);
  const row = make("div", "table-row", ...cells);
  row.setAttribute("role", "row");
  row.tabIndex = -1;
  row.dataset.tokenId = token.id;
  return { row, cells, key: "" };
}

/** @param {Line} line @param {Row} row @param {number} now */
function fillLine(line, { token, lease, status }, now) {
  const left = lease ? countdown(lease.expiresAt - now) : "";
  if (line.cells[4].textContent !== left) line.cells[4].textContent = left;
  const key = JSON.stringify([token.name, status, token.retiring, lease?.user, lease && token.note,
    token.labels, token.taints]);
  if (line.key === key) return;
  line.key = key;
  const [name, state, holder, note, , labels, taints, acts] = line.cells;
  name.replaceChildren(make("b", "", token.name));
  name.title = token.name;
  line.row.dataset.status = status;
  line.row.toggleAttribute("data-retiring", token.retiring);
  state.replaceChildren(make("i", "table-sign"),
    word(token.retiring ? "statusRetiring" : STATUS[status]));
  holder.replaceChildren(lease ? nameOf(lease.user) : "");
  setText(note, (lease && token.note) || "");
  note.title = note.textContent ?? "";
  labels.replaceChildren(...chips(Object.entries(token.labels).map(([label, text]) => {
    const chip = make("button", "chip", `${label}=${text}`);
    chip.type = "button";
    chip.tabIndex = -1;
    chip.dataset.label = `${label}=${text}`;
    return chip;
  })));
  taints.replaceChildren(...chips(token.taints.map(({ name: taint, reason }) => {
    const chip = make("span", "chip taint", reason ? `${taint}: ${reason}` : taint);
    chip.title = chip.textContent ?? "";
    return chip;
  })));
  acts.firstElementChild?.setAttribute("aria-label", word("tableActsOf", { token: token.name }));
}

/** The first ones, and the number of others. @param {HTMLElement[]} all */
function chips(all) {
  if (all.length <= CHIPS) return all;
  const more = make("span", "chip more", `+${all.length - CHIPS}`);
  more.title = all.slice(CHIPS).map(({ textContent }) => textContent).join(", ");
  return [...all.slice(0, CHIPS), more];
}
