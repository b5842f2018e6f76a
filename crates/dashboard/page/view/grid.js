// @ts-check
import { word } from "../words/language.js";
import { countdown } from "../words/time.js";
import { make, setText } from "./dom.js";
import { evicts, fractionLeft, shownTime } from "./moment.js";
import { chips, isNamed, nextOf, offOf, offWords, tokenSentence } from "./state.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").Lease} Lease */
/** @typedef {{ button: HTMLButtonElement, bar: HTMLElement, holder: HTMLElement,
 *   left: HTMLElement, name: Text, lease: Lease | null, fraction: number }} Cell */

/** Largest numbers of tokens shown as cards, and as tiles; more are dots. */
const CARDS = 150;
const TILES = 600;
/** Most changes in a second that light up: the eye can't follow more. */
const LIT = 12;

/** Steps of a bar by density: a step is about a pixel, as smaller changes would not be visible. */
const STEPS = { cards: 160, tiles: 90, dots: 20 };
/** Accessible names updated per second; that of the token with the focus is always current. */
const NAMED = 150;

/** The marks and the word for a value of data-next. @param {string} next */
function marksOf(next) {
  const marks = next.split(" ").map((kind) => make("i", `mark ${kind}`));
  const words = next === "expire" ? "markExpire" : next === "evict" ? "markEvict" : "markBoth";
  const element = make("span", "cell-next", ...marks, make("b", "cell-word", word(words)));
  element.setAttribute("aria-hidden", "true");
  return element;
}

/** The tokens as buttons, up to some two thousand. */
export class Grid {
  #live;
  #root;
  /** @type {Cell[]} */
  #cells = [];
  /** @type {Token[]} */
  #marked = [];
  /** @type {((token: Token) => boolean) | null} */
  #filter = null;
  #current = 0;
  /** @type {keyof typeof STEPS} */
  #density = "cards";
  /** Number of tokens changed in this second. */
  #changes = 0;
  /** Position of the token whose name is updated next. */
  #toName = 0;

  /** @param {Live} live @param {HTMLElement} root @param {(id: string) => void} open */
  constructor(live, root, open) {
    this.#live = live;
    this.#root = root;
    root.addEventListener("click", (event) => {
      const cell = this.#cellAt(event.target);
      if (cell) open(cell.dataset.tokenId ?? "");
    });
    root.addEventListener("keydown", (event) => this.#move(event));
    root.addEventListener("focusin", ({ target }) => {
      const cell = this.#cellAt(target);
      if (!cell) return;
      this.#makeCurrent(Number(cell.dataset.position));
      this.#name(Number(cell.dataset.position));
    });
    root.addEventListener("animationend", ({ target }) => {
      this.#cellAt(target)?.classList.remove("fresh");
    });
  }

  /** @param {EventTarget | null} target @returns {HTMLElement | null} */
  #cellAt(target) {
    return target instanceof Element ? target.closest(".cell") : null;
  }

  /** Rebuilds the buttons. */
  build() {
    const { tokens } = this.#live.pool;
    const focused = this.#root.contains(document.activeElement);
    this.#density = tokens.length <= CARDS ? "cards" : tokens.length <= TILES ? "tiles" : "dots";
    this.#root.dataset.density = this.#density;
    const cards = this.#density === "cards";
    this.#root.toggleAttribute("data-named", cards && tokens.some(isNamed));
    this.#root.toggleAttribute("data-labelled",
      cards && tokens.some(({ labels }) => Object.keys(labels).length > 0));
    this.#marked = [];
    this.#cells = tokens.map((token) => this.#make(token));
    this.#root.replaceChildren(...this.#cells.map(({ button }) => button));
    this.#makeCurrent(Math.min(this.#current, tokens.length - 1));
    this.draw(null);
    if (focused) this.focus(this.#current);
  }

  /** @param {Token} token @returns {Cell} */
  #make(token) {
    const bar = make("span", "cell-bar");
    const holder = make("span", "cell-holder");
    holder.dir = "auto";
    const left = make("span", "cell-left");
    const number = make("span", "cell-number", token.name);
    // The accessible name contains everything that the other elements show, in whole words.
    const name = document.createTextNode("");
    const seen = [bar, holder, number, left];
    if (this.#root.hasAttribute("data-labelled")) {
      seen.push(make("span", "cell-labels", ...chips(token)));
    }
    for (const part of seen) part.setAttribute("aria-hidden", "true");
    const button = make("button", "cell", ...seen);
    if (this.#density === "cards") button.append(make("span", "hidden", name));
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.tokenId = token.id;
    button.dataset.position = String(token.position);
    return { button, bar, holder, left, name, lease: null, fraction: -1 };
  }

  /** Draws the changed tokens, or all for null. @param {number[] | null} positions */
  draw(positions) {
    const now = shownTime(this.#live);
    this.#changes += positions?.length ?? this.#cells.length;
    const few = this.#changes <= LIT;
    for (const position of positions ?? this.#cells.keys()) {
      this.#drawCell(position, now, few);
      if (few || positions === null) this.#name(position);
    }
    this.#drawMarks(now);
  }

  /** Draws the changes that the passing time makes. */
  drawTime() {
    this.#changes = 0;
    const now = shownTime(this.#live);
    for (let position = 0; position < this.#cells.length; position += 1) {
      const { lease } = this.#cells[position];
      if (lease === null) continue;
      if (lease.expiresAt <= now) this.#drawCell(position, now, false);
      else this.#drawLeft(position);
    }
    for (let i = 0; i < Math.min(NAMED, this.#cells.length); i += 1) {
      this.#toName = (this.#toName + 1) % this.#cells.length;
      // A change of the focused element's name would have it read aloud every second.
      if (this.#cells[this.#toName].button !== document.activeElement) this.#name(this.#toName);
    }
    this.#drawMarks(now);
  }

  /** @param {number} position @param {number} now @param {boolean} lit */
  #drawCell(position, now, lit) {
    const cell = this.#cells[position];
    const token = this.#live.pool.tokens[position];
    if (!cell || !token) return;
    const lease = this.#live.pool.holder(token, now);
    if (lit && lease && lease.fence !== cell.lease?.fence) cell.button.classList.add("fresh");
    cell.lease = lease;
    cell.button.dataset.state = this.#live.pool.status(token, now);
    const off = offOf(token, now);
    if (cell.button.dataset.off !== off) cell.button.dataset.off = off;
    setText(cell.holder, lease ? lease.user : offWords(token, now) || word("drawerFree"));
    if (!lease) setText(cell.left, "");
    this.#drawLeft(position);
    this.#match(cell, token);
  }

  /** @param {number} position */
  #drawLeft(position) {
    const cell = this.#cells[position];
    if (!cell.lease) return;
    const now = this.#live.clock.now();
    setText(cell.left, countdown(cell.lease.expiresAt - now));
    const steps = STEPS[this.#density];
    const fraction = Math.ceil(fractionLeft(this.#live, cell.lease, now) * steps) / steps;
    if (cell.fraction === fraction) return;
    cell.fraction = fraction;
    // Thousands of transformed elements cost far more to paint than the same number of backgrounds.
    if (this.#density === "dots") cell.button.style.backgroundSize = `100% ${fraction * 100}%`;
    else cell.bar.style.transform = `scaleX(${fraction})`;
  }

  /** @param {number} position */
  #name(position) {
    const token = this.#live.pool.tokens[position];
    if (!token) return;
    const { name, button } = this.#cells[position];
    const sentence = tokenSentence(this.#live, token);
    // A card shows more than its label would contain, so its name is a text; thousands of dots
    // would be too slow to lay out in this way.
    if (this.#density !== "cards") button.setAttribute("aria-label", sentence);
    else if (name.data !== sentence) name.data = sentence;
  }

  /** @param {number} now */
  #drawMarks(now) {
    const { pool } = this.#live;
    const next = [pool.nextToExpire(now), evicts(this.#live) ? pool.nextToEvict(now) : null];
    const marked = next.filter((token) => token !== null);
    for (const token of new Set([...this.#marked, ...marked])) {
      const cell = this.#cells[token.position];
      if (!cell) continue;
      const how = nextOf(this.#live, token, now);
      if (cell.button.dataset.next === how) continue;
      cell.button.querySelector(".cell-next")?.remove();
      if (how) {
        cell.button.dataset.next = how;
        cell.button.append(marksOf(how));
      } else {
        delete cell.button.dataset.next;
      }
      this.#name(token.position);
    }
    this.#marked = marked;
  }

  /** @param {((token: Token) => boolean) | null} filter */
  show(filter) {
    this.#filter = filter;
    this.#root.toggleAttribute("data-searching", filter !== null);
    this.#cells.forEach((cell, i) => this.#match(cell, this.#live.pool.tokens[i]));
  }

  /** @param {Cell} cell @param {Token} token */
  #match(cell, token) {
    const matches = this.#filter !== null && this.#filter(token);
    if (matches !== cell.button.classList.contains("match")) {
      cell.button.classList.toggle("match", matches);
    }
  }

  /** @param {number} position */
  focus(position) {
    this.#cells[position]?.button.focus();
  }

  /** Makes one cell the only one that Tab reaches. @param {number} position */
  #makeCurrent(position) {
    const before = this.#cells[this.#current];
    if (before) before.button.tabIndex = -1;
    this.#current = Math.max(0, position);
    const cell = this.#cells[this.#current];
    if (cell) cell.button.tabIndex = 0;
  }

  #columns() {
    return getComputedStyle(this.#root).gridTemplateColumns.split(" ").length;
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.#cells.length - 1;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.#columns(), ArrowUp: -this.#columns(),
      Home: -last, End: last,
    };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step === undefined) return;
    event.preventDefault();
    const wanted = this.#current + step;
    if (event.key === "Home" || event.key === "End") {
      this.focus(Math.min(last, Math.max(0, wanted)));
    } else if (wanted >= 0 && wanted <= last) {
      this.focus(wanted);
    }
  }
}
