// @ts-check
import { api } from "../live/api.js";
import { caller } from "../live/caller.js";
import { Mine } from "../live/mine.js";
import { poolPath } from "../live/where.js";
import { isolated, onLanguage, word } from "../words/language.js";
import { countdown, timeOfDay } from "../words/time.js";
import { announce } from "./announcer.js";
import { arrange, make, nameOf, part, setText, tokenAddress } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { tokenInText, tokenPath, tokenTitle } from "./links.js";
import { myName, onMe } from "./me.js";
import { shownTime } from "./moment.js";
import { onBack, problemWords } from "./problem.js";
/** @typedef {import("../live/api.js").Api} Api */
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/mine.js").MyLease} MyLease */
/** @typedef {"renew" | "release"} Act */

/** Number of leases shown before the user asks for all, and on narrow screens. */
const FEW = 4;
const FEWEST = 2;
const narrow = matchMedia("(max-width: 48rem)");

/** A lease in the panel: it acts on exactly this lease. */
class Row {
  item = make("li", "mine-lease");
  #lease;
  #parts;
  #title = make("a", "mine-token");
  #pool = make("a", "mine-pool");
  #note = make("p", "mine-note");
  #left = make("p", "mine-left");
  #bar = make("i");
  #error = make("p", "error");
  #buttons = { renew: make("button", "small quiet"), release: make("button", "small") };
  /** @type {Act | null} under way */
  #act = null;

  /**
   * @param {MyLease} lease
   * @param {{ mine: Mine, api: Pick<Api, "renew" | "releaseLease">, pool: () => string | null,
   *   now: () => number, leave: (item: HTMLElement) => void }} parts `pool`: that of the page
   */
  constructor(lease, parts) {
    this.#lease = lease;
    this.#parts = parts;
    this.item.dataset.leaseId = lease.id;
    this.#pool.href = poolPath(lease.pool);
    this.#pool.textContent = lease.pool;
    if (lease.note) this.#note.append(nameOf(lease.note));
    this.#error.setAttribute("role", "alert");
    for (const act of /** @type {const} */ (["renew", "release"])) {
      const button = this.#buttons[act];
      button.type = "button";
      button.dataset.act = act;
      // The second half of a double click repeats nothing.
      button.addEventListener("click", ({ detail }) => detail <= 1 && void this.#do(act));
    }
    const bar = make("div", "bar-of-time", this.#bar);
    bar.ariaHidden = "true";
    this.item.append(make("p", "mine-what", this.#title, this.#pool), this.#left, bar, this.#note,
      make("div", "mine-acts", this.#buttons.renew, this.#buttons.release), this.#error);
  }

  /** @param {MyLease} lease */
  draw(lease) {
    this.#lease = lease;
    const { mine, now, pool } = this.#parts;
    setText(this.#title, tokenTitle(lease.tokenName));
    const isHere = lease.pool === pool();
    this.#title.href = isHere ? tokenAddress(lease.tokenId) : tokenPath(lease.pool, lease.tokenId);
    this.#pool.hidden = isHere;
    const left = lease.expiresAt - now();
    const lengths = mine.lengths(lease.pool);
    setText(this.#left, word("left", { left: countdown(left) }));
    this.#left.title = word("drawerUntil", { time: timeOfDay(lease.expiresAt) });
    const whole = lengths ? lengths.lease_seconds * 1000 : lease.expiresAt - lease.startedAt;
    const part = Math.min(1, Math.max(0, left / whole));
    this.#bar.style.transform = `scaleX(${part.toFixed(3)})`;
    this.item.classList.toggle("soon", left < Math.min(60_000, whole / 5));
    this.#label();
    const renews = !lengths || lengths.max_lease_seconds > lengths.lease_seconds;
    const mayAct = caller.mayActFor(lease.user);
    this.#buttons.renew.hidden = !renews || !mayAct;
    this.#buttons.release.hidden = !mayAct;
  }

  #label() {
    const name = tokenInText(this.#lease.tokenName);
    for (const act of /** @type {const} */ (["renew", "release"])) {
      const button = this.#buttons[act];
      setText(button, word(this.#act === act ? `${act}Busy` : act));
      button.setAttribute("aria-label", `${button.textContent}: ${isolated(name)}`);
      button.setAttribute("aria-disabled", String(this.#act !== null));
    }
  }

  /** @param {Act} act */
  async #do(act) {
    if (this.#act !== null) return;
    const lease = this.#lease;
    const { api, mine, leave } = this.#parts;
    this.#act = act;
    setText(this.#error, "");
    this.#label();
    try {
      if (act === "renew") {
        const { expiresAt } = await api.renew(lease.id);
        mine.renewed(lease.id, expiresAt);
        announce(word("renewed", { time: timeOfDay(expiresAt) }));
      } else {
        await api.releaseLease(lease.id);
        leave(this.item);
        mine.apply("ended", lease);
        const token = isolated(tokenInText(lease.tokenName));
        announce(word("released", { user: isolated(lease.user), token }));
      }
    } catch (error) {
      setText(this.#error, problemWords(error));
      mine.hurry();
    }
    this.#act = null;
    this.#label();
  }
}

/** Panel with the running leases of the remembered user, above the other parts of the page. */
class Panel {
  #mine;
  #parts;
  #section = part("mine");
  #title = make("h2");
  #who = make("span", "mine-who");
  #list = make("ul", "mine-list");
  #all = make("button", "quiet small mine-all");
  /** @type {Map<string, Row>} by lease */
  #rows = new Map();
  #open = false;

  /**
   * @param {Mine} mine
   * @param {{ api: Pick<Api, "renew" | "releaseLease">, pool: () => string | null,
   *   now: () => number }} parts
   */
  constructor(mine, parts) {
    this.#mine = mine;
    const leave = (/** @type {HTMLElement} */ item) => this.#leave(item);
    this.#parts = { ...parts, mine, leave };
    this.#title.id = "mine-title";
    this.#title.tabIndex = -1;
    this.#all.type = "button";
    this.#all.addEventListener("click", () => {
      this.#open = !this.#open;
      this.draw();
    });
    const head = make("div", "mine-head", this.#title, this.#who, this.#all);
    this.#section.append(head, this.#list);
    // Above the grid of the page, whose rows would keep a gap for it while it is hidden.
    part("main").before(this.#section);
  }

  /** Moves the focus out of a row that is about to disappear. @param {HTMLElement} item */
  #leave(item) {
    if (!item.contains(document.activeElement)) return;
    const next = item.nextElementSibling ?? item.previousElementSibling;
    const button = next?.querySelector("button:not([hidden])");
    if (button instanceof HTMLElement) return button.focus();
    const main = document.querySelector("main [tabindex='-1'], main input");
    if (main instanceof HTMLElement) main.focus({ preventScroll: true });
  }

  draw() {
    const running = this.#mine.running(this.#parts.now());
    const few = narrow.matches ? FEWEST : FEW;
    const shown = this.#open ? running : running.slice(0, few);
    /** @type {Map<string, Row>} */
    const rows = new Map();
    for (const lease of shown) {
      const row = this.#rows.get(lease.id) ?? new Row(lease, this.#parts);
      row.draw(lease);
      rows.set(lease.id, row);
    }
    for (const [id, { item }] of this.#rows) if (!rows.has(id)) this.#leave(item);
    this.#rows = rows;
    this.#section.hidden = running.length === 0;
    arrange(this.#list, [...rows.values()].map(({ item }) => item));
    this.#all.hidden = running.length <= few;
    this.#all.setAttribute("aria-expanded", String(this.#open));
    setText(this.#all, word(this.#open ? "mineFewer" : "mineAll", { count: running.length }));
    setText(this.#title, word("mine", { count: running.length }));
    if (this.#who.textContent !== this.#mine.user) {
      this.#who.replaceChildren(nameOf(this.#mine.user));
    }
  }
}

/** Whether a page is visible and connected. @param {Pick<Live, "state">} live */
export const isActive = ({ state }) => document.visibilityState === "visible" && state === "live";

/**
 * Shows the running leases of the remembered user, in all pools.
 * @param {Mine} mine
 * @param {Live} live the state of the connection
 * @param {() => string | null} pool that of the page, if any
 */
export function startMine(mine, live, pool) {
  const panel = new Panel(mine, { api, pool, now: () => shownTime(live) });
  const draw = () => panel.draw();
  mine.addEventListener("leases", () => redraw(draw));
  withTime(() => mine.leases.length > 0 && draw());
  onLanguage(draw);
  onMe(() => mine.follow(myName()));
  onBack(live, () => mine.hurry());
  mine.start();
  mine.follow(myName());
}

/** The panel on the page of a pool, whose events it gets at once. @param {Live} live */
export function startMineOf(live) {
  const lengthsOf = (/** @type {string} */ pool) =>
    (pool === live.name ? live.info?.policy : undefined);
  const mine = new Mine({ isActive: () => isActive(live), lengthsOf });
  let last = live.recent.at(-1);
  live.addEventListener("recent", () => {
    const { recent, name: pool } = live;
    const known = last ? recent.lastIndexOf(last) : -1;
    last = recent.at(-1);
    if (pool === null) return;
    for (const happening of recent.slice(known + 1)) {
      mine.apply(happening.kind, { ...happening, pool });
    }
  });
  startMine(mine, live, () => live.name);
}
