// @ts-check
import { api } from "../live/api.js";
import { fillWords, onLanguage, word } from "../words/language.js";
import { ago, countdown } from "../words/time.js";
import { announce } from "./announcer.js";
import { arrange, make, nameOf, part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
import { problemWords } from "./problem.js";
import { reasonWords } from "./timeline.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").PastLease} PastLease */

/** Maximum numbers of tokens and of past leases listed. */
const LISTED = 12;
/** Pause after the last key before the history is searched, in milliseconds. */
const PAUSE = 250;
/** Pause before the result is announced, in milliseconds. */
const SILENCE = 1000;

/**
 * Returns whether a token matches: by its number, by its holder, or by the beginning of an id. The
 * function reads the pool on each call, since leases begin and end while the query stays.
 * @param {Live} live
 * @param {string} query in lower case
 * @returns {(token: Token) => boolean}
 */
function matcher(live, query) {
  return (token) => {
    if (token.id.startsWith(query) || isNumberOf(token, query)) return true;
    const lease = live.pool.holder(token, shownTime(live));
    return lease !== null && (lease.user.toLowerCase().includes(query)
      || lease.id.startsWith(query) || lease.userId === query);
  };
}

/** Whether the query is the token's name: "12", "#12" or "token 12".
 * @param {Token} token @param {string} query */
function isNumberOf({ name }, query) {
  return query.replace(/^(token\s*)?#?/, "") === name.toLowerCase();
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
  let pressed = false;
  /** @type {Map<string, HTMLElement>} the listed items by the id of their token or past lease */
  let items = new Map();
  const heading = make("li", "group");

  const query = () => field.value.trim();
  let meant = matcher(live, "");

  const draw = () => {
    // An item that is being pressed stays in its place.
    if (query() === "" || pressed) return;
    const matching = live.pool.tokens.filter(meant);
    // Tokens show their number, so a match by number comes before matches by the start of an id.
    const numbered = matching.findIndex((token) => isNumberOf(token, query().toLowerCase()));
    if (numbered > 0) matching.unshift(...matching.splice(numbered, 1));
    const listed = matching.slice(0, LISTED);
    const all = listed.length === matching.length;
    setText(part("search-summary"), matching.length === 0 ? word("searchNone")
      : word("searchFound", { count: matching.length })
        + (all ? "" : `, ${word("searchFirst", { count: LISTED })}`));
    const next = listed.map((token) => ({ key: token.id, tokenId: token.id,
      say: (/** @type {Element} */ item) => sayCurrent(live, token, item) }));
    for (const lease of past) {
      const { id, tokenId } = lease;
      next.push({ key: id, tokenId, say: (item) => sayPast(live, lease, item) });
    }
    /** @type {Map<string, HTMLElement>} */
    const made = new Map();
    for (const { key, tokenId, say } of next) {
      const item = items.get(key) ?? make("li", "", resultButton(tokenId));
      say(item);
      made.set(key, item);
    }
    items = made;
    const ordered = [...made.values()];
    if (past.length > 0 || failed) {
      fillHeading(heading, query(), failed);
      ordered.splice(listed.length, 0, heading);
    }
    const at = [...results.children].findIndex((item) => item.contains(document.activeElement));
    arrange(results, ordered);
    if (at >= 0 && !results.contains(document.activeElement)) {
      (results.querySelectorAll("button")[at] ?? field).focus();
    }
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
  let silence = 0;
  const change = () => {
    const empty = query() === "";
    clearTimeout(pause);
    clearTimeout(silence);
    asking += 1;
    past = [];
    failed = "";
    panel.hidden = empty;
    meant = matcher(live, query().toLowerCase());
    tokens.show(empty ? null : meant);
    items = new Map();
    if (empty) return results.replaceChildren();
    draw();
    if (panel.getBoundingClientRect().bottom > innerHeight) part("tokens").scrollIntoView();
    pause = window.setTimeout(askPast, PAUSE);
    silence = window.setTimeout(() => announce(part("search-summary").textContent ?? ""), SILENCE);
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

  const refresh = () => panel.hidden || redraw(draw);

  field.addEventListener("input", change);
  field.addEventListener("focus", () => (panel.hidden = query() === ""));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") go(results.querySelector("button")?.dataset.tokenId);
  });
  results.addEventListener("click", ({ target, detail }) => {
    // The drawer returns the focus to the element that had it; the list will be closed by then.
    if (detail === 0) field.focus();
    go(target instanceof Element ? target.closest("button")?.dataset.tokenId : undefined);
  });
  panel.addEventListener("pointerdown", () => (pressed = true));
  for (const end of ["pointerup", "pointercancel"]) {
    addEventListener(end, () => {
      if (!pressed) return;
      setTimeout(() => {
        pressed = false;
        refresh();
      });
    });
  }
  startKeys(field, panel, results, clear);
  live.addEventListener("pool", refresh);
  withTime(refresh);
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
  // The list closes when the focus leaves it; the matching tokens stay marked.
  frame.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget instanceof Node && !frame.contains(relatedTarget)) panel.hidden = true;
  });
  document.addEventListener("pointerdown", ({ target }) => {
    if (target instanceof Node && !frame.contains(target)) panel.hidden = true;
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    const meta = event.ctrlKey || event.metaKey || event.altKey;
    if (event.key !== "/" || meta || typing || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
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
  setText(what, word("token", { number: token.name }) + left);
}

/** @param {Live} live @param {PastLease} lease @param {Element} item */
function sayPast(live, lease, item) {
  const when = ago(live.clock.now() - (lease.endedAt ?? lease.startedAt));
  const [who, what] = /** @type {HTMLCollection} */ (item.firstElementChild?.children);
  setText(who, word("token", { number: lease.tokenName }));
  setText(what, `${reasonWords(lease)} · ${when}`);
}

/** @param {HTMLElement} heading @param {string} user @param {string} failed */
function fillHeading(heading, user, failed) {
  if (failed) setText(heading, failed);
  else fillWords(heading, "searchPast", { user: nameOf(user) });
}
