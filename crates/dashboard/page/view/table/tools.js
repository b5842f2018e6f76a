// @ts-check
import { onLanguage, word } from "../../words/language.js";
import { make, part, setText } from "../dom.js";
import { COLUMNS } from "./address.js";
/** @typedef {import("../../live/live.js").Live} Live */
/** @typedef {import("../../words/language.js").Key} Key */
/** @typedef {import("./address.js").View} View */
/** @typedef {import("./address.js").Column} Column */

/** @type {Record<Column | "acts", Key>} */
const NAMES = {
  token: "tableToken", status: "tableStatus", holder: "tableHolder", note: "tableNote",
  left: "tableLeft", labels: "tableLabels", taints: "tableTaints", acts: "tableActs",
};
/** Most choices that a field offers. */
const OFFERED = 200;
/** Fields of the view's texts. */
const TEXTS = /** @type {const} */ ({
  text: "table-text", holder: "table-holder", label: "table-label",
});

/** Filters and headings of the table. */
export class Tools {
  #live;
  #change;
  /** @type {Map<Column, HTMLElement>} */
  #heads = new Map();

  /** @param {Live} live @param {(change: Partial<View>) => void} change */
  constructor(live, change) {
    this.#live = live;
    this.#change = change;
    for (const [name, id] of Object.entries(TEXTS)) {
      const field = part(id, HTMLInputElement);
      field.addEventListener("input", () => change({ [name]: field.value.trim() }));
    }
    const show = part("table-show", HTMLSelectElement);
    show.addEventListener("change", () => change({ show: /** @type {any} */ (show.value) }));
    const sort = part("table-sort", HTMLSelectElement);
    sort.addEventListener("change", () =>
      change({ column: /** @type {Column} */ (sort.value), down: false }));
    part("table-holder").addEventListener("focus", () => this.#offerHolders());
    part("table-label").addEventListener("focus", () => this.#offerLabels());
    this.#makeHeads();
    onLanguage(() => this.#nameHeads());
  }

  #makeHeads() {
    for (const column of COLUMNS) {
      const button = make("button", "quiet table-order", make("span"), make("i", "order"));
      button.type = "button";
      button.addEventListener("click", () => this.#change({ column }));
      const head = make("div", `table-cell col-${column}`, button);
      head.setAttribute("role", "columnheader");
      this.#heads.set(column, head);
    }
    const acts = make("div", "table-cell col-acts", make("span", "hidden"));
    acts.setAttribute("role", "columnheader");
    part("table-head").replaceChildren(...this.#heads.values(), acts);
    part("table-sort").replaceChildren(...COLUMNS.map((column) => {
      const option = make("option");
      option.value = column;
      return option;
    }));
    this.#nameHeads();
  }

  #nameHeads() {
    const options = [...part("table-sort").children];
    COLUMNS.forEach((column, i) => {
      const text = word(NAMES[column]);
      setText(/** @type {Element} */ (this.#heads.get(column)?.querySelector("span")), text);
      setText(options[i], text);
    });
    const acts = part("table-head").lastElementChild?.firstElementChild;
    if (acts) setText(acts, word("tableActs"));
  }

  /** @param {View} view */
  show(view) {
    for (const [name, id] of Object.entries(TEXTS)) {
      const field = part(id, HTMLInputElement);
      const text = view[/** @type {keyof typeof TEXTS} */ (name)];
      // A space that was just typed stays.
      if (field.value.trim() !== text) field.value = text;
    }
    part("table-show", HTMLSelectElement).value = view.show;
    part("table-sort", HTMLSelectElement).value = view.column;
    for (const [column, head] of this.#heads) {
      const order = column !== view.column ? "none" : view.down ? "descending" : "ascending";
      head.setAttribute("aria-sort", order);
    }
  }

  #offerHolders() {
    const users = new Set();
    for (const { lease } of this.#live.pool.tokens) {
      if (lease) users.add(lease.user);
      if (users.size === OFFERED) break;
    }
    offer("table-holders", users);
  }

  #offerLabels() {
    const labels = new Set();
    for (const token of this.#live.pool.tokens) {
      for (const [key, value] of Object.entries(token.labels)) labels.add(`${key}=${value}`);
      if (labels.size >= OFFERED) break;
    }
    offer("table-label-list", labels);
  }
}

/** @param {string} id of a list @param {Set<string>} choices */
function offer(id, choices) {
  part(id).replaceChildren(...[...choices].sort().map((choice) => {
    const option = make("option");
    option.value = choice;
    return option;
  }));
}
