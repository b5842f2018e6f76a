// @ts-check
import { fillWords, word } from "../words/language.js";
import { timeOfDay } from "../words/time.js";
import { make, nameOf, part } from "./dom.js";
import { shownTime } from "./moment.js";
import { chip } from "./state.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").Taint} Taint */

/** Labels and taints of the token in the drawer. */
export class Marks {
  #live;
  /** Content of the last drawing: drawing it again would end a selection in it. */
  #shown = "";

  /** @param {Live} live */
  constructor(live) {
    this.#live = live;
  }

  /** @param {Token | undefined} token */
  draw(token) {
    const now = shownTime(this.#live);
    const taints = token?.taints.filter(({ until }) => until === null || until > now) ?? [];
    const labels = Object.entries(token?.labels ?? {});
    const key = JSON.stringify([labels, taints, token?.retiring, document.documentElement.lang]);
    if (key === this.#shown) return;
    this.#shown = key;
    part("drawer-labels-row").hidden = labels.length === 0;
    part("drawer-labels").replaceChildren(...labels.map(([key, value]) => chip(key, value)));
    const items = taints.map(item);
    if (token?.retiring) {
      const text = make("p", "taint-what", word(token.lease ? "offLater" : "offRetiring"));
      items.push(make("li", "", make("i", "off-sign"), make("div", "", text)));
    }
    part("drawer-taints").hidden = items.length === 0;
    part("drawer-taints").replaceChildren(...items);
  }
}

/** @param {Taint} taint */
function item({ name, effect, reason, by, since, until }) {
  const what = make("p", "taint-what", word(`taint-${effect}`));
  if (reason) what.append(": ", make("bdi", "", reason));
  const who = make("span");
  if (by === null) who.textContent = word("taintSet", { time: timeOfDay(since) });
  else fillWords(who, "taintBy", { user: nameOf(by), time: timeOfDay(since) });
  const about = make("p", "taint-who", who);
  if (until !== null) about.append(" · ", word("drawerUntil", { time: timeOfDay(until) }));
  const made = make("li", "", make("i", effect === "note" ? "sign" : "off-sign"),
    make("div", "", what, about));
  made.dataset.taint = name;
  return made;
}
