// @ts-check
import { word } from "../words/language.js";
import { announce } from "./announcer.js";
import { part, setText } from "./dom.js";
import { redraw } from "./frames.js";
import { evicts, fractionLeft, shownTime } from "./moment.js";
import { offOf, tokenSentence } from "./state.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */

/** Approximate height of the map, and the allowed sizes of a token in it. */
const HEIGHT = 640;
const LEAST = 3;
const MOST = 16;
/** Size from which a token fills up by the time left; smaller ones are darker with more time. */
const FINE = 11;
/** Time after which the cursor counts as resting, in milliseconds. */
const RESTS = 150;

/** A drawn map of the tokens, when they are too many for buttons. */
export class TokenMap {
  #live;
  #canvas = part("map", HTMLCanvasElement);
  #pen = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d"));
  #pitch = 8;
  #columns = 1;
  #cursor = 0;
  #pointed = -1;
  #saying = 0;
  /** @type {((token: Token) => boolean) | null} */
  #filter = null;
  #colours = { track: "", fill: "", free: "", dim: "", found: "", off: "" };

  /** @param {Live} live @param {(id: string) => void} open */
  constructor(live, open) {
    this.#live = live;
    const canvas = this.#canvas;
    const openAt = (/** @type {number} */ position) => {
      const token = live.pool.tokens[position];
      if (token) open(token.id);
    };
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        openAt(this.#cursor);
      } else {
        this.#move(event);
      }
    });
    canvas.addEventListener("pointermove", (event) => this.#point(this.#positionAt(event)));
    canvas.addEventListener("pointerleave", () => this.#point(-1));
    canvas.addEventListener("click", (event) => openAt(this.#positionAt(event)));
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.#drawCursor());
    canvas.addEventListener("focus", () => this.#say());
    new ResizeObserver(() => redraw(() => this.build())).observe(part("map-frame"));
    addEventListener("theme", () => redraw(() => this.build()));
  }

  /** Fits the map into the available width, and draws it. */
  build() {
    const count = this.#live.pool.tokens.length;
    const width = part("map-frame").clientWidth;
    if (width === 0 || count === 0) return;
    const fitting = Math.floor(Math.sqrt((width * HEIGHT) / count));
    this.#pitch = Math.min(MOST, Math.max(LEAST, fitting));
    this.#columns = Math.max(1, Math.floor(width / this.#pitch));
    const rows = Math.ceil(count / this.#columns);
    const sharp = devicePixelRatio || 1;
    const [across, down] = [this.#columns * this.#pitch, rows * this.#pitch];
    this.#canvas.width = Math.round(across * sharp);
    this.#canvas.height = Math.round(down * sharp);
    this.#canvas.style.width = `${across}px`;
    this.#canvas.style.height = `${down}px`;
    this.#pen.scale(sharp, sharp);
    const style = getComputedStyle(document.documentElement);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    this.#colours = {
      track: colour("--fill"), fill: colour("--fill-strong"), free: colour("--line-2"),
      dim: colour("--sunken"), found: colour("--accent"), off: colour("--signal-fill"),
    };
    this.#cursor = Math.min(this.#cursor, count - 1);
    this.draw(null);
  }

  /** @param {number[] | null} positions */
  draw(positions) {
    const now = shownTime(this.#live);
    const all = this.#live.pool.tokens.keys();
    for (const position of positions ?? all) this.#drawToken(position, now);
    this.#drawMarks(now);
    this.#drawHint();
    const count = this.#live.pool.tokens.length;
    const label = word("mapHelp", { count });
    if (this.#canvas.getAttribute("aria-label") !== label) {
      this.#canvas.setAttribute("aria-label", label);
    }
  }

  drawTime() {
    this.draw(null);
  }

  /** @param {number} position @param {number} now */
  #drawToken(position, now) {
    const token = this.#live.pool.tokens[position];
    if (!token) return;
    const pen = this.#pen;
    const lease = this.#live.pool.holder(token, now);
    const size = this.#pitch - 1;
    const x = (position % this.#columns) * this.#pitch;
    const y = Math.floor(position / this.#columns) * this.#pitch;
    const dimmed = this.#filter !== null && !this.#filter(token);
    const stale = this.#live.state === "lost";
    pen.clearRect(x, y, size, size);
    if (lease === null && offOf(token, now)) {
      // A token out of use is a bar, as in a sign that forbids.
      pen.fillStyle = dimmed ? this.#colours.dim : this.#colours.off;
      const height = Math.max(1, Math.round(size / 4));
      pen.fillRect(x, y + Math.round((size - height) / 2), size, height);
      return;
    }
    if (lease === null) {
      pen.fillStyle = dimmed ? this.#colours.dim : this.#colours.free;
      // A free token is a small square, so that it differs by shape as well.
      const inset = Math.max(1, Math.round(size / 3.5));
      pen.fillRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset);
      return;
    }
    pen.fillStyle = dimmed ? this.#colours.dim : stale ? this.#colours.free : this.#colours.track;
    pen.fillRect(x, y, size, size);
    if (dimmed || stale) return;
    if (this.#filter) {
      pen.fillStyle = this.#colours.found;
      pen.fillRect(x, y, size, size);
      return;
    }
    pen.fillStyle = this.#colours.fill;
    const left = fractionLeft(this.#live, lease, this.#live.clock.now());
    if (this.#pitch >= FINE) {
      pen.fillRect(x, y + size * (1 - left), size, size * left);
    } else {
      pen.globalAlpha = left;
      pen.fillRect(x, y, size, size);
      pen.globalAlpha = 1;
    }
  }

  /** @param {HTMLElement} element @param {Token | null} token @param {number} [aside] */
  #place(element, token, aside = 0) {
    element.hidden = token === null;
    if (token === null) return;
    const middle = (this.#pitch - 1) / 2;
    const x = (token.position % this.#columns) * this.#pitch + middle;
    const y = Math.floor(token.position / this.#columns) * this.#pitch + middle;
    element.style.transform = `translate(${x + aside}px, ${y}px) translate(-50%, -50%)`;
  }

  /** @param {number} now */
  #drawMarks(now) {
    const { pool } = this.#live;
    const expire = pool.nextToExpire(now);
    const evict = evicts(this.#live) ? pool.nextToEvict(now) : null;
    // On the same token the marks would cover each other.
    const aside = expire === evict ? 11 : 0;
    this.#place(part("map-expire"), expire, -aside);
    this.#place(part("map-evict"), evict, aside);
  }

  #drawCursor() {
    const cursor = part("map-cursor");
    const shown = document.activeElement === this.#canvas;
    const size = Math.max(14, this.#pitch + 5);
    cursor.style.width = `${size}px`;
    cursor.style.height = `${size}px`;
    this.#place(cursor, (shown && this.#live.pool.tokens[this.#cursor]) || null);
    this.#drawHint();
  }

  #drawHint() {
    const hint = part("map-hint");
    const focused = document.activeElement === this.#canvas;
    const position = this.#pointed >= 0 ? this.#pointed : focused ? this.#cursor : -1;
    const token = this.#live.pool.tokens[position];
    setText(hint, token ? tokenSentence(this.#live, token) : word("mapIdle"));
  }

  /** Announces the position of the resting cursor: the hint counts down and is only visual. */
  #say() {
    clearTimeout(this.#saying);
    this.#saying = window.setTimeout(() => {
      const token = this.#live.pool.tokens[this.#cursor];
      if (token && document.activeElement === this.#canvas) {
        announce(tokenSentence(this.#live, token));
      }
    }, RESTS);
  }

  /** @param {MouseEvent} event */
  #positionAt(event) {
    const column = Math.floor(event.offsetX / this.#pitch);
    const row = Math.floor(event.offsetY / this.#pitch);
    if (column < 0 || column >= this.#columns || row < 0) return -1;
    const position = row * this.#columns + column;
    return position < this.#live.pool.tokens.length ? position : -1;
  }

  /** @param {number} position */
  #point(position) {
    this.#pointed = position;
    this.#canvas.style.cursor = position >= 0 ? "pointer" : "";
    redraw(this.#redrawHint);
  }
  #redrawHint = () => this.#drawHint();

  /** @param {KeyboardEvent} event */
  #move(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.#live.pool.tokens.length - 1;
    const row = this.#columns;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row,
      PageDown: 10 * row, PageUp: -10 * row, Home: -Infinity, End: Infinity,
    };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step === undefined) return;
    event.preventDefault();
    this.focus(Math.min(last, Math.max(0, this.#cursor + step)));
  }

  /** @param {number} position */
  focus(position) {
    this.#cursor = position;
    this.#pointed = -1;
    this.#canvas.focus({ preventScroll: true });
    this.#drawCursor();
    this.#say();
    part("map-cursor").scrollIntoView({ block: "nearest" });
  }

  /** @param {((token: Token) => boolean) | null} filter */
  show(filter) {
    this.#filter = filter;
    this.draw(null);
  }
}
