// @ts-check
import { fillWords, onLanguage, word } from "../words/language.js";
import { timeOfDay } from "../words/time.js";
import { make, nameOf, part, setText, tokenAddress } from "./dom.js";
import { redraw } from "./frames.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/shape.js").Happening} Happening */

const SHOWN = 200;
/** Time between two redraws, in milliseconds: as fast as a person reads, and it leaves processor
 * time for the rest. */
const APART = 300;

/** Words before the holder; an event does not say which user ended the lease. */
const WHOSE = /** @type {const} */ ({
  started: "eventFor", renewed: "eventHeldBy", ended: "eventWasHeldBy",
});

/** @param {Happening} event */
function item(event) {
  const { kind, reason, tokenId, tokenName, position, at } = event;
  const link = make("a", "", word("token", { number: tokenName }));
  // Another token may have the name of one that was retired.
  link.href = tokenAddress(position >= 0 ? tokenName : tokenId);
  const what = make("span", "what");
  const words = kind === "started" ? "eventStarted" : kind === "renewed" ? "eventRenewed"
    : /** @type {const} */ (`event-${reason ?? "released"}`);
  fillWords(what, words, { token: link });
  const whose = make("span", "whose");
  fillWords(whose, WHOSE[kind], { user: nameOf(event.user) });
  const time = make("time", "", timeOfDay(at));
  time.dateTime = new Date(at).toISOString();
  const made = make("li", "", make("i", "sign"), what, time, whose);
  made.dataset.kind = kind;
  made.dataset.reason = reason ?? "";
  return made;
}

/** The list of events, newest first. @param {Live} live */
export function startFeed(live) {
  const list = part("events");
  const pause = part("pause");
  /** @type {Happening[]} the events that are in the list, newest first */
  let shown = [];
  /** @type {Map<Happening, HTMLElement>} */
  let items = new Map();
  let paused = false;
  let missed = 0;
  /** @type {Happening | undefined} */
  let counted;
  let drawnAt = -Infinity;
  let later = 0;

  const draw = () => {
    drawnAt = performance.now();
    const wanted = live.recent.slice(-SHOWN).reverse();
    const next = new Map(wanted.map((event) => [event, items.get(event) ?? item(event)]));
    // Usually new events only come on top; then the rest of the list stays untouched.
    const kept = wanted.indexOf(shown[0]);
    const onTop = kept >= 0 && wanted.slice(kept).every((event, i) => event === shown[i]);
    if (onTop) {
      list.prepend(...wanted.slice(0, kept).map((event) => /** @type {Node} */ (next.get(event))));
      for (const event of shown) if (!next.has(event)) items.get(event)?.remove();
    } else {
      list.replaceChildren(...next.values());
    }
    [shown, items] = [wanted, next];
    part("events-none").hidden = shown.length > 0 || !live.loaded || live.used === null;
    setText(part("events-none"), word(live.used ? "eventsNoneLately" : "eventsNone"));
  };
  for (const kind of ["state", "series"]) live.addEventListener(kind, () => paused || redraw(draw));
  const count = () => {
    const from = counted === undefined ? -1 : live.recent.lastIndexOf(counted);
    missed += live.recent.length - 1 - from;
    counted = live.recent.at(-1);
    label();
  };
  const label = () => {
    setText(pause, word(paused ? "resume" : "pause"));
    setText(part("paused-count"), paused ? word("pausedCount", { count: missed }) : "");
  };
  const soon = () => {
    clearTimeout(later);
    const wait = drawnAt + APART - performance.now();
    if (wait <= 0) redraw(draw);
    else later = window.setTimeout(() => paused || redraw(draw), wait);
  };

  pause.addEventListener("click", () => {
    paused = !paused;
    missed = 0;
    counted = live.recent.at(-1);
    pause.setAttribute("aria-pressed", String(paused));
    label();
    if (!paused) redraw(draw);
  });
  live.addEventListener("recent", () => (paused ? count() : soon()));
  live.addEventListener("pool", (event) => {
    // The list of tokens made their numbers known.
    if (/** @type {CustomEvent} */ (event).detail.positions !== null || paused) return;
    items = new Map();
    shown = [];
    redraw(draw);
  });
  onLanguage(() => {
    items = new Map();
    // While paused, the rows change their language, and no new rows come.
    if (paused) list.replaceChildren(...shown.map((event) => {
      const made = item(event);
      items.set(event, made);
      return made;
    }));
    else draw();
    label();
  });
  label();
}
