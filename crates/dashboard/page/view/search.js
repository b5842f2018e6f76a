// @ts-check
import { api } from "../live/api.js";
import { fillWords, onLanguage, word } from "../words/language.js";
import { ago, countdown } from "../words/time.js";
import { announce } from "./announcer.js";
import { arrange, make, nameOf, part, setText } from "./dom.js";
import { Elsewhere } from "./elsewhere.js";
import { redraw, withTime } from "./frames.js";
import { tokenTitle } from "./links.js";
import { shownTime } from "./moment.js";
import { problemWords } from "./problem.js";
import { onSlash } from "./slash.js";
import { reasonWords } from "./timeline.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").PastLease} PastLease */

/** Maximum numbers of tokens and of past leases listed. */
const LISTED = 12;
/** Pause after the last key before the history and other pools are searched, in milliseconds. */
const PAUSE = 250;
/** Pause before the result is announced, in milliseconds. */
const SILENCE = 1000;

/**
 * Returns whether a token matches: by its name or a label, by its holder and its note, or by the
 * beginning of an id. The function reads the pool on each call, since leases begin and end while
 * the query stays.
 * @param {Live} live
 * @param {string} query in lower case
 * @returns {(token: Token) => boolean}
 */
function matcher(live, query) {
  const has = (/** @type {string | null} */ text) => text?.toLowerCase().includes(query) ?? false;
  return (token) => {
    if (token.id.startsWith(query) || isNameOf(token, query)) return true;
    // Parts of numbers are no names: "1" does not mean token 21.
    if (!/^\d+$/.test(token.name) && has(token.name)) return true;
    if (Object.entries(token.labels).some(([key, value]) => has(`${key}=${value}`))) return true;
    const lease = live.pool.holder(token, shownTime(live));
    return lease !== null && (has(lease.user) || has(token.note) || lease.id.startsWith(query)
      || lease.userId === query);
  };
}

/** Whether the query is the token's name: "staging-1", or "12", "#12" or "token 12".
 * @param {Token} token @param {string} query in lower case */
function isNameOf({ name }, query) {
  return query === name.toLowerCase() || query.replace(/^(token\s*)?#?/, "") === name.toLowerCase();
}

/** The search of a pool's page: the tokens of this pool, their history, and other pools. */
class Search {
  #live;
  #tokens;
  #open;
  #field = part("search", HTMLInputElement);
  #panel = part("search-panel");
  #results = part("search-results");
  /** @type {PastLease[]} */
  #past = [];
  #failed = "";
  #asking = 0;
  #pressed = false;
  /** @type {Map<string, HTMLElement>} the listed items by the id of their token or past lease */
  #items = new Map();
  #heading = make("li", "group");
  #elsewhere;
  #meant;
  #pause = 0;
  #silence = 0;

  /**
   * @param {Live} live
   * @param {{ show(filter: ((token: Token) => boolean) | null): void }} tokens
   * @param {(tokenId: string) => void} open
   */
  constructor(live, tokens, open) {
    this.#live = live;
    this.#tokens = tokens;
    this.#open = open;
    this.#meant = matcher(live, "");
    this.#elsewhere = new Elsewhere(live, () => this.#refresh());
    const field = this.#field;
    field.addEventListener("input", () => this.#change());
    field.addEventListener("focus", () => (this.#panel.hidden = this.#query === ""));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#results.querySelector(STOPS)?.click();
    });
    this.#results.addEventListener("click", ({ target, detail }) => {
      const button = target instanceof Element ? target.closest("button") : null;
      // The drawer returns the focus to the element that had it; the list will be closed by then.
      if (button && detail === 0) field.focus();
      this.#go(button?.dataset.tokenId);
    });
    this.#stillWhilePressed();
    startKeys(field, this.#panel, this.#results, () => this.#clear());
    live.addEventListener("pool", () => this.#refresh());
    withTime(() => this.#refresh());
    onLanguage(() => this.#panel.hidden || this.#draw());
  }

  get #query() {
    return this.#field.value.trim();
  }

  /** An item that is being pressed stays in its place. */
  #stillWhilePressed() {
    this.#panel.addEventListener("pointerdown", () => (this.#pressed = true));
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, () => {
        if (!this.#pressed) return;
        setTimeout(() => {
          this.#pressed = false;
          this.#refresh();
        });
      });
    }
  }

  #refresh() {
    if (!this.#panel.hidden) redraw(this.#redraw);
  }

  #redraw = () => this.#draw();

  #draw() {
    if (this.#query === "" || this.#pressed) return;
    const matching = this.#matching();
    const listed = matching.slice(0, LISTED);
    const others = this.#elsewhere.items();
    setText(part("search-summary"), summary(matching.length, others.length > 0));
    const next = listed.map((token) => ({ key: token.id, tokenId: token.id,
      say: (/** @type {Element} */ item) => sayCurrent(this.#live, token, item) }));
    for (const lease of this.#past) {
      const { id, tokenId } = lease;
      next.push({ key: id, tokenId, say: (item) => sayPast(this.#live, lease, item) });
    }
    /** @type {Map<string, HTMLElement>} */
    const made = new Map();
    for (const { key, tokenId, say } of next) {
      const item = this.#items.get(key) ?? make("li", "", resultButton(tokenId));
      say(item);
      made.set(key, item);
    }
    this.#items = made;
    const ordered = [...made.values()];
    if (this.#past.length > 0 || this.#failed) {
      fillHeading(this.#heading, this.#query, this.#failed);
      ordered.splice(listed.length, 0, this.#heading);
    }
    this.#arrange([...ordered, ...others]);
  }

  /** Shows the items, and leaves the focus at its place in the list. @param {HTMLElement[]} items */
  #arrange(items) {
    const results = this.#results;
    const at = [...results.children].findIndex((item) => item.contains(document.activeElement));
    arrange(results, items);
    if (at >= 0 && !results.contains(document.activeElement)) {
      (results.querySelectorAll(STOPS)[at] ?? this.#field).focus();
    }
  }

  /** The matching tokens of this pool; a match by the whole name comes before others. */
  #matching() {
    const matching = this.#live.pool.tokens.filter(this.#meant);
    const query = this.#query.toLowerCase();
    const named = matching.findIndex((token) => isNameOf(token, query));
    if (named > 0) matching.unshift(...matching.splice(named, 1));
    return matching;
  }

  async #askPast() {
    const user = this.#query;
    const mine = (this.#asking += 1);
    try {
      const { leases } = await api.leases({ user, status: "ended", limit: LISTED });
      if (mine !== this.#asking) return;
      this.#past = leases;
      this.#failed = "";
    } catch (error) {
      if (mine !== this.#asking) return;
      this.#failed = word("searchPastFailed", { why: problemWords(error, true) });
    }
    this.#refresh();
  }

  #change() {
    const empty = this.#query === "";
    clearTimeout(this.#pause);
    clearTimeout(this.#silence);
    this.#asking += 1;
    this.#past = [];
    this.#failed = "";
    this.#elsewhere.clear();
    this.#panel.hidden = empty;
    this.#meant = matcher(this.#live, this.#query.toLowerCase());
    this.#tokens.show(empty ? null : this.#meant);
    this.#items = new Map();
    if (empty) return this.#results.replaceChildren();
    this.#draw();
    if (this.#panel.getBoundingClientRect().bottom > innerHeight) part("tokens").scrollIntoView();
    this.#pause = window.setTimeout(() => {
      void this.#askPast();
      void this.#elsewhere.find(this.#query);
    }, PAUSE);
    this.#silence = window.setTimeout(() => {
      announce(part("search-summary").textContent ?? "");
    }, SILENCE);
  }

  #clear() {
    this.#field.value = "";
    this.#change();
  }

  /** @param {string | undefined} tokenId */
  #go(tokenId) {
    if (tokenId === undefined) return;
    this.#panel.hidden = true;
    this.#open(tokenId);
  }
}

/** The results that can have the focus. @type {"button"} links, too; the type is that of a selector
 * whose elements can be clicked */
const STOPS = /** @type {any} */ ("button, a");

/** @param {number} count of tokens of this pool @param {boolean} others whether others match */
function summary(count, others) {
  if (count === 0) return word(others ? "searchNoneHere" : "searchNone");
  const first = count > LISTED ? `, ${word("searchFirst", { count: LISTED })}` : "";
  return word("searchFound", { count }) + first;
}

/** @param {HTMLInputElement} field @param {HTMLElement} panel @param {HTMLElement} results
 * @param {() => void} clear */
function startKeys(field, panel, results, clear) {
  const frame = /** @type {HTMLElement} */ (field.parentElement);
  frame.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      clear();
      field.focus();
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const stops = [field, ...results.querySelectorAll(STOPS)];
    const at = stops.indexOf(/** @type {any} */ (document.activeElement));
    const next = stops[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });
  // The list closes when the focus leaves it; the matching tokens stay marked.
  frame.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget instanceof Node && !frame.contains(relatedTarget)) panel.hidden = true;
  });
  document.addEventListener("pointerdown", ({ target }) => {
    if (target instanceof Node && !frame.contains(target)) panel.hidden = true;
  });
  onSlash(field);
}

/** @param {string} tokenId */
function resultButton(tokenId) {
  const button = make("button", "", make("span", "who"), make("span", "what"));
  button.type = "button";
  button.dataset.tokenId = tokenId;
  return button;
}

/** @param {Live} live @param {Token} token @param {Element} item */
function sayCurrent(live, token, item) {
  const lease = live.pool.holder(token, shownTime(live));
  const [who, what] = /** @type {HTMLCollection} */ (item.firstElementChild?.children);
  if (!lease) setText(who, word("drawerFree"));
  else if (who.textContent !== lease.user || !who.firstElementChild) {
    who.replaceChildren(nameOf(lease.user));
  }
  const left = lease
    ? ` · ${word("searchHeld", { left: countdown(lease.expiresAt - live.clock.now()) })}` : "";
  setText(what, tokenTitle(token.name) + left);
}

/** @param {Live} live @param {PastLease} lease @param {Element} item */
function sayPast(live, lease, item) {
  const when = ago(live.clock.now() - (lease.endedAt ?? lease.startedAt));
  const [who, what] = /** @type {HTMLCollection} */ (item.firstElementChild?.children);
  setText(who, tokenTitle(lease.tokenName));
  setText(what, `${reasonWords(lease)} · ${when}`);
}

/** @param {HTMLElement} heading @param {string} user @param {string} failed */
function fillHeading(heading, user, failed) {
  if (failed) setText(heading, failed);
  else fillWords(heading, "searchPast", { user: nameOf(user) });
}

/**
 * @param {Live} live
 * @param {{ show(filter: ((token: Token) => boolean) | null): void }} tokens
 * @param {(tokenId: string) => void} open
 */
export function startSearch(live, tokens, open) {
  new Search(live, tokens, open);
}
