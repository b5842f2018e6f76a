// @ts-check
import { api } from "../live/api.js";
import { fillWords, onLanguage, word } from "../words/language.js";
import { ago, countdown } from "../words/time.js";
import { make, nameOf, part, setText } from "./dom.js";
import { redraw } from "./frames.js";
import { shownTime } from "./moment.js";
import { problemWords } from "./problem.js";
import { reasonWords } from "./timeline.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").PastLease} PastLease */

/** How many of each are listed. */
const LISTED = 12;
/** So long nothing is typed before the history is asked. */
const PAUSE = 250;

/**
 * Whether a token is meant: by its holder, by the beginning of an id, or by its number (#12). It
 * looks at the pool each time, for leases come and go while the query stands.
 * @param {Live} live
 * @param {string} query in lower case
 * @returns {(token: Token) => boolean}
 */
function matcher(live, query) {
  return (token) => {
    if (token.id.startsWith(query) || `#${token.position + 1}` === query) return true;
    const lease = live.pool.holder(token, shownTime(live));
    return lease !== null && (lease.user.toLowerCase().includes(query)
      || lease.id.startsWith(query) || lease.userId === query);
  };
}

/**
 * @param {Live} live
 * @param {{ show(filter: ((token: Token) => boolean) | null): void }} tokens
 * @param {(tokenId: string) => void} open
 */
export function startSearch(live, tokens, open) {
  const field = part("search", HTMLInputElement);
  const panel = part("search-panel");
  const results = part("search-results");
  /** @type {PastLease[]} */
  let past = [];
  let failed = "";
  let asking = 0;

  const query = () => field.value.trim();
  let meant = matcher(live, "");

  const draw = () => {
    if (query() === "") return;
    const matching = live.pool.tokens.filter(meant);
    const listed = matching.slice(0, LISTED);
    const all = listed.length === matching.length;
    setText(part("search-summary"), matching.length === 0 ? word("searchNone")
      : word("searchFound", { count: matching.length })
        + (all ? "" : `, ${word("searchFirst", { count: LISTED })}`));
    const items = listed.map((token) => currentItem(live, token));
    if (past.length > 0 || failed) items.push(pastHeading(query(), failed));
    items.push(...past.map((lease) => pastItem(live, lease)));
    refill(results, items);
  };

  const askPast = async () => {
    const user = query();
    const mine = (asking += 1);
    try {
      const { leases } = await api.leases({ user, status: "ended", limit: LISTED });
      if (mine !== asking) return;
      past = leases;
      failed = "";
    } catch (error) {
      if (mine !== asking) return;
      failed = word("searchPastFailed", { why: problemWords(error, true) });
    }
    redraw(draw);
  };

  let pause = 0;
  const change = () => {
    const empty = query() === "";
    clearTimeout(pause);
    asking += 1;
    past = [];
    failed = "";
    panel.hidden = empty;
    meant = matcher(live, query().toLowerCase());
    tokens.show(empty ? null : meant);
    if (empty) return results.replaceChildren();
    draw();
    if (panel.getBoundingClientRect().bottom > innerHeight) part("tokens").scrollIntoView();
    pause = window.setTimeout(askPast, PAUSE);
  };
  const clear = () => {
    field.value = "";
    change();
  };
  const go = (/** @type {string | undefined} */ tokenId) => {
    if (tokenId === undefined) return;
    panel.hidden = true;
    open(tokenId);
  };

  field.addEventListener("input", change);
  field.addEventListener("focus", () => (panel.hidden = query() === ""));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") go(results.querySelector("button")?.dataset.tokenId);
  });
  results.addEventListener("click", ({ target }) => {
    go(target instanceof Element ? target.closest("button")?.dataset.tokenId : undefined);
  });
  startKeys(field, panel, results, clear);
  live.addEventListener("pool", () => panel.hidden || redraw(draw));
  onLanguage(() => panel.hidden || draw());
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
    const stops = [field, ...results.querySelectorAll("button")];
    const at = stops.indexOf(/** @type {any} */ (document.activeElement));
    const next = stops[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });
  // The list closes when one goes elsewhere; what was found stays marked.
  frame.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget instanceof Node && !frame.contains(relatedTarget)) panel.hidden = true;
  });
  document.addEventListener("pointerdown", ({ target }) => {
    if (target instanceof Node && !frame.contains(target)) panel.hidden = true;
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key !== "/" || typing || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}

/** @param {string} tokenId @param {(Node | string)[]} children */
function item(tokenId, ...children) {
  const button = make("button", "", ...children);
  button.type = "button";
  button.dataset.tokenId = tokenId;
  return make("li", "", button);
}

/** @param {Live} live @param {Token} token */
function currentItem(live, token) {
  const lease = live.pool.holder(token, shownTime(live));
  const who = make("span", "who", lease ? nameOf(lease.user) : word("drawerFree"));
  const left = lease
    ? ` · ${word("searchHeld", { left: countdown(lease.expiresAt - live.clock.now()) })}` : "";
  const what = word("token", { number: String(token.position + 1) }) + left;
  return item(token.id, who, make("span", "what", what));
}

/** @param {Live} live @param {PastLease} lease */
function pastItem(live, lease) {
  const token = live.pool.token(lease.tokenId);
  const number = token ? String(token.position + 1) : lease.tokenId.slice(0, 8);
  const when = ago(live.clock.now() - (lease.endedAt ?? lease.startedAt));
  const who = make("span", "who", word("token", { number }));
  return item(lease.tokenId, who, make("span", "what", `${reasonWords(lease)} · ${when}`));
}

/** @param {string} user @param {string} failed */
function pastHeading(user, failed) {
  const heading = make("li", "group");
  if (failed) heading.textContent = failed;
  else fillWords(heading, "searchPast", { user: nameOf(user) });
  return heading;
}

/** Replaces the items, but keeps the focus where it was. @param {Element} list @param {Element[]}
 * items */
function refill(list, items) {
  const at = [...list.children].findIndex((item) => item.contains(document.activeElement));
  list.replaceChildren(...items);
  if (at >= 0) items[Math.min(at, items.length - 1)]?.querySelector("button")?.focus();
}
