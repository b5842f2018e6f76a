// @ts-check
import { isolated, word } from "../words/language.js";
import { countdown, leftInWords } from "../words/time.js";
import { make, setText } from "./dom.js";
import { evicts, fractionLeft, shownTime } from "./moment.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").Lease} Lease */
/** @typedef {{ button: HTMLButtonElement, bar: HTMLElement, holder: HTMLElement,
 *   left: HTMLElement, word: HTMLElement, name: Text, lease: Lease | null}} Cell */

/** Up to so many tokens are cards, and tiles; more are dots. */
const CARDS = 150;
const TILES = 600;
/** More changes than these in a frame are not to be followed by eye, so nothing lights up. */
const LIT = 8;

/** The two marks, side by side: a token may well be the next to expire and the next to go. */
export const nextMarks = () => [make("i", "mark expire"), make("i", "mark evict")];

/**
 * How a token is next, for data-next.
 * @param {Live} live @param {Token} token @param {number} now
 */
export function nextOf(live, token, now) {
  const next = [];
  if (live.pool.nextToExpire(now) === token) next.push("expire");
  if (evicts(live) && live.pool.nextToEvict(now) === token) next.push("evict");
  return next.join(" ");
}

/** All there is to say of a token, in a sentence. @param {Live} live @param {Token} token */
export function tokenSentence(live, token) {
  const now = shownTime(live);
  const lease = live.pool.holder(token, now);
  if (lease === null) return word("cellFree", { number: String(token.position + 1) });
  const next = nextOf(live, token, now);
  const values = {
    number: String(token.position + 1),
    user: isolated(lease.user),
    left: leftInWords(lease.expiresAt - live.clock.now()),
  };
  const sentences = [word(live.state === "lost" ? "cellHeldStale" : "cellHeld", values)];
  if (next.includes("expire")) sentences.push(word("nextToExpire"));
  if (next.includes("evict")) sentences.push(word("nextToEvict"));
  return sentences.join(", ");
}

/** Up to some two thousand tokens, a button each. */
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
  #upright = false;

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
      this.#label(Number(cell.dataset.position));
    });
    root.addEventListener("animationend", ({ target }) => {
      this.#cellAt(target)?.classList.remove("fresh");
    });
  }

  /** @param {EventTarget | null} target @returns {HTMLElement | null} */
  #cellAt(target) {
    return target instanceof Element ? target.closest(".cell") : null;
  }

  /** Makes the buttons anew. */
  build() {
    const { tokens } = this.#live.pool;
    const focused = this.#root.contains(document.activeElement);
    const density = tokens.length <= CARDS ? "cards" : tokens.length <= TILES ? "tiles" : "dots";
    this.#root.dataset.density = density;
    this.#upright = density === "dots";
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
    const wordOfNext = make("b", "cell-word");
    const number = make("span", "cell-number", String(token.position + 1));
    const next = make("span", "cell-next", ...nextMarks(), wordOfNext);
    // The name says all that the others show, and in whole words.
    const name = document.createTextNode("");
    const seen = [bar, holder, number, left, next];
    for (const part of seen) part.setAttribute("aria-hidden", "true");
    const button = make("button", "cell", ...seen, make("span", "hidden", name));
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.tokenId = token.id;
    button.dataset.position = String(token.position);
    return { button, bar, holder, left, word: wordOfNext, name, lease: null };
  }

  /** Draws what changed; null is everything. @param {number[] | null} positions */
  draw(positions) {
    const now = shownTime(this.#live);
    const lit = positions !== null && positions.length <= LIT;
    for (const position of positions ?? this.#cells.keys()) this.#drawCell(position, now, lit);
    this.#drawMarks(now);
  }

  /** Draws what changes by itself. */
  drawTime() {
    const now = shownTime(this.#live);
    for (let position = 0; position < this.#cells.length; position += 1) {
      const { lease, button } = this.#cells[position];
      if (lease === null) continue;
      if (lease.expiresAt <= now) this.#drawCell(position, now, false);
      else this.#drawLeft(position);
      // Changing the name of what has the focus would have it read aloud every second.
      if (button !== document.activeElement) this.#label(position);
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
    cell.button.dataset.state = lease ? "active" : "available";
    setText(cell.holder, lease ? lease.user : word("drawerFree"));
    if (!lease) setText(cell.left, "");
    this.#drawLeft(position);
    this.#label(position);
    this.#match(cell, token);
  }

  /** @param {number} position */
  #drawLeft(position) {
    const { lease, left, bar } = this.#cells[position];
    if (!lease) return;
    const now = this.#live.clock.now();
    setText(left, countdown(lease.expiresAt - now));
    const fraction = fractionLeft(this.#live, lease, now).toFixed(3);
    bar.style.transform = this.#upright ? `scaleY(${fraction})` : `scaleX(${fraction})`;
  }

  /** @param {number} position */
  #label(position) {
    const token = this.#live.pool.tokens[position];
    if (!token) return;
    const { name } = this.#cells[position];
    const sentence = tokenSentence(this.#live, token);
    if (name.data !== sentence) name.data = sentence;
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
      if (how) cell.button.dataset.next = how;
      else delete cell.button.dataset.next;
      setText(cell.word, how === "expire" ? word("markExpire")
        : how === "evict" ? word("markEvict") : how ? word("markBoth") : "");
      this.#label(token.position);
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

  /** Of all cells, one is reached by Tab. @param {number} position */
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
