// @ts-check
import { number, word } from "../words/language.js";
import { timeOfDay } from "../words/time.js";
import { announce } from "./announcer.js";
import { make, part } from "./dom.js";
/** @typedef {import("../live/series.js").Bucket} Bucket */
/** @typedef {import("../words/language.js").Key} Key */

/** Pause after a key before the figures are read aloud, in milliseconds. */
const SILENCE = 250;

/** @type {[keyof Bucket, Key][]} */
const ROWS = [["active", "chartInUse"], ["waiting", "chartWaiting"],
  ["allocations", "chartAllocations"], ["expiries", "chartExpiries"],
  ["evictions", "chartEvictions"]];

/** Steps of the keys, in buckets. @type {Record<string, number>} */
const STEPS = {
  ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -Infinity, End: Infinity,
};

/** The figures of one bucket: of that below the pointer, or of that which the keys chose. */
export class ChartCursor {
  #width;
  #plot = part("chart-plot");
  #tip = part("chart-tip");
  /** @type {Bucket[]} */
  #buckets = [];
  /** Position of the pointer in the drawing, in buckets from its left end. @type {number | null} */
  #pointed = null;
  /** Time of the bucket that the keys chose: it moves with the chart. @type {number | null} */
  #chosen = null;
  #saying = 0;

  /** @param {number} width of the drawing, in buckets */
  constructor(width) {
    this.#width = width;
    const plot = this.#plot;
    for (const kind of /** @type {const} */ (["pointermove", "pointerdown"])) {
      plot.addEventListener(kind, (event) => this.#point(event));
    }
    for (const kind of ["pointerleave", "pointercancel"]) {
      plot.addEventListener(kind, () => this.#leave());
    }
    plot.addEventListener("keydown", (event) => this.#key(event));
    plot.addEventListener("blur", () => {
      this.#chosen = null;
      this.#draw();
    });
  }

  /** @param {Bucket[]} buckets oldest first */
  show(buckets) {
    this.#buckets = buckets;
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #point({ clientX }) {
    const { left, width } = part("chart", SVGElement).getBoundingClientRect();
    this.#pointed = Math.floor(((clientX - left) / width) * this.#width);
    this.#draw();
  }

  #leave() {
    this.#pointed = null;
    this.#draw();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#buckets.length === 0) return;
    if (event.key === "Escape") {
      this.#chosen = null;
      return this.#draw();
    }
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const last = this.#buckets.length - 1;
    const from = this.#chosen === null ? last + (step < 0 ? 1 : 0) : this.#index();
    const index = Math.min(last, Math.max(0, from + step));
    this.#chosen = this.#buckets[index].at;
    this.#pointed = null;
    this.#draw();
    clearTimeout(this.#saying);
    this.#saying = window.setTimeout(() => announce(sentence(this.#buckets[index])), SILENCE);
  }

  /** Index of the bucket to show, or -1. */
  #index() {
    const { length } = this.#buckets;
    if (length === 0) return -1;
    if (this.#pointed !== null) {
      return Math.min(length - 1, Math.max(0, this.#pointed - this.#width + length));
    }
    if (this.#chosen === null) return -1;
    const index = this.#buckets.findIndex(({ at }) => at >= /** @type {number} */ (this.#chosen));
    return index < 0 ? length - 1 : index;
  }

  #draw() {
    const index = this.#index();
    const cursor = part("chart-cursor", SVGElement);
    cursor.setAttribute("visibility", index < 0 ? "hidden" : "visible");
    this.#tip.hidden = index < 0;
    if (index < 0) return;
    const x = this.#width - this.#buckets.length + index;
    cursor.setAttribute("x", String(x));
    this.#tip.replaceChildren(...rows(this.#buckets[index]));
    // Beside the line, on the side with more room.
    const left = x < this.#width / 2;
    const share = `${((left ? x + 1 : this.#width - x) / this.#width) * 100}%`;
    this.#tip.style.left = left ? share : "auto";
    this.#tip.style.right = left ? "auto" : share;
  }
}

/** @param {Bucket} bucket */
function rows(bucket) {
  const lines = ROWS.map(([kind, key]) => {
    const count = bucket[kind];
    return make("p", "", make("span", "", word(key)),
      make("b", "", count === null ? "–" : number(count)));
  });
  return [make("p", "chart-time", timeOfDay(bucket.at)), ...lines];
}

/** @param {Bucket} bucket */
function sentence({ at, waiting, ...counts }) {
  const values = { time: timeOfDay(at), ...counts };
  return waiting === null ? word("chartFiguresOld", values)
    : word("chartFigures", { ...values, waiting });
}
