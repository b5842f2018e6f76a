// @ts-check
import { Finder } from "../../live/finder.js";
import { poolPath } from "../../live/where.js";
import { onLanguage, word } from "../../words/language.js";
import { announce } from "../announcer.js";
import { part, setText } from "../dom.js";
import { redraw, withTime } from "../frames.js";
import { hitItem, sayHit } from "../hits.js";
import { shownTime } from "../moment.js";
import { onSlash } from "../slash.js";
/** @typedef {import("../../live/finder.js").Found} Found */
/** @typedef {import("../../live/pools.js").Pools} Pools */
/** @typedef {ReturnType<typeof import("./list.js").startList>} List */

/** Pause after the last key before tokens and leases are searched, in milliseconds. */
const PAUSE = 250;
/** Pause before the result is announced, in milliseconds. */
const SILENCE = 1200;

/** The tokens and leases found besides the pools. @param {Pools} pools */
function startFound(pools) {
  const panel = part("found");
  const list = part("found-list");
  /** @type {Found | null} */
  let found = null;

  const summary = () => {
    if (!found) return "";
    const { hits, searched, pools: count } = found;
    const parts = [word("foundCount", { count: hits.length })];
    if (searched < count) parts.push(word("foundPart", { searched, count }));
    return parts.join(" ");
  };
  const say = () => {
    setText(part("found-summary"), summary());
    const now = shownTime(pools);
    found?.hits.forEach((hit, i) => sayHit(list.children[i], hit, now));
  };
  withTime(() => found && say());
  onLanguage(say);
  return {
    /** @param {Found | null} next */
    show(next) {
      found = next;
      panel.hidden = !next || next.hits.length === 0;
      const now = shownTime(pools);
      list.replaceChildren(...(next?.hits ?? []).map((hit) => hitItem(hit, now)));
      say();
    },
    summary,
    first: () => list.querySelector("a"),
  };
}

/**
 * The search of the page of all pools: it filters the list at once, and finds tokens and leases in
 * the pools a moment later.
 * @param {Pools} pools
 * @param {List} list
 */
export function startFinding(pools, list) {
  const field = part("search", HTMLInputElement);
  const finder = new Finder();
  const found = startFound(pools);
  let pause = 0;
  let silence = 0;

  const query = () => field.value.trim();
  const change = () => {
    clearTimeout(pause);
    clearTimeout(silence);
    finder.stop();
    found.show(null);
    list.filter(query());
    pause = window.setTimeout(() => {
      keepInAddress(query());
      if (query() === "") return;
      void finder.find(query(), [...pools.list.rows.values()], found.show);
    }, PAUSE);
    if (query() === "") return;
    silence = window.setTimeout(() => {
      announce(`${word("poolsFound", { count: list.found() })} ${found.summary()}`);
    }, SILENCE);
  };
  field.addEventListener("input", () => redraw(change));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      field.value = "";
      change();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      list.enter();
    } else if (event.key === "Enter") {
      const first = list.first();
      if (first !== undefined) location.assign(poolPath(first));
      else found.first()?.click();
    }
  });
  onSlash(field);
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) startWith(asked, field, pools, change);
}

/**
 * Searches for the query in the address, once the pools are known.
 * @param {string} query @param {HTMLInputElement} field @param {Pools} pools @param {() => void} change
 */
function startWith(query, field, pools, change) {
  field.value = query;
  const once = () => {
    if (!pools.loaded) return;
    pools.removeEventListener("state", once);
    change();
  };
  pools.addEventListener("state", once);
}

/** Keeps the search in the address, so that going back from a pool leads to it. @param {string} query */
function keepInAddress(query) {
  const search = query && `?${new URLSearchParams({ q: query })}`;
  if (location.search !== search) history.replaceState(null, "", location.pathname + search);
}
