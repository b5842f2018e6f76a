// @ts-check
import { number, onLanguage, word } from "../../words/language.js";
import { part, setText } from "../dom.js";
import { redraw } from "../frames.js";
/** @typedef {import("../../live/pools.js").Pools} Pools */

const UNKNOWN = "–";

/** The sums over all pools. @param {Pools} pools */
export function startTotals(pools) {
  const draw = () => {
    const totals = pools.list.totals();
    const text = (/** @type {number} */ count) => (pools.loaded ? number(count) : UNKNOWN);
    for (const name of /** @type {const} */ (["active", "available", "tainted", "waiting"])) {
      setText(part(`sum-${name}`), text(totals[name]));
    }
    setText(part("sum-size"), pools.loaded ? word("ofSize", { size: totals.size }) : "");
    setText(part("sum-pools"), pools.loaded ? word("poolsCount", { count: totals.pools }) : "");
    part("sum-bar-active").style.width = share(totals.active, totals.size);
    part("sum-bar-tainted").style.width = share(totals.tainted, totals.size);
  };
  // The title is also visible while the page is in the background, where nothing is drawn.
  const title = () => {
    const { active, size } = pools.list.totals();
    const parts = [
      pools.state === "lost" && word("notLive"),
      pools.state !== "lost" && pools.loaded && `${active}/${size}`,
      "TokenManager",
    ];
    const text = parts.filter(Boolean).join(" · ");
    if (document.title !== text) document.title = text;
  };
  setInterval(title, 1000);
  for (const kind of ["pools", "state"]) pools.addEventListener(kind, () => redraw(draw));
  pools.addEventListener("state", title);
  onLanguage(draw);
  draw();
}

/** @param {number} count @param {number} size */
const share = (count, size) => `${size === 0 ? 0 : (count / size) * 100}%`;
