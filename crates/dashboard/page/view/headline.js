// @ts-check
import { number, onLanguage, word } from "../words/language.js";
import { part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
import { policyWords } from "./policy.js";
/** @typedef {import("../live/live.js").Live} Live */

const UNKNOWN = "–";

/** @param {number | undefined} count */
const shown = (count) => (count === undefined ? UNKNOWN : number(count));

/** The counts, and the policy in words. @param {Live} live */
export function startHeadline(live) {
  const of = part("count-of");
  const size = document.createElement("span");
  size.id = "count-size";
  const [before, after] = [document.createTextNode(""), document.createTextNode("")];
  of.append(before, size, after);

  const words = () => {
    [before.data, after.data] = word("ofSize").split("{size}");
    if (live.info) setText(part("policy"), policyWords(live.info));
  };
  const draw = () => {
    const counts = live.pool.counts(shownTime(live));
    setText(part("count-active"), live.loaded ? number(counts.active) : UNKNOWN);
    setText(part("count-available"), live.loaded ? number(counts.available) : UNKNOWN);
    setText(part("count-tainted"), number(counts.tainted));
    part("count-tainted-box").hidden = counts.tainted === 0;
    setText(size, shown(live.loaded ? counts.size : live.info?.size));
    setText(part("count-waiting"), shown(live.info?.waiting));
  };
  // The title is also visible while the page is in the background, where nothing is drawn.
  const title = () => {
    const { active, size } = live.pool.counts(live.clock.now());
    const parts = [
      live.state === "lost" && word("notLive"),
      live.place !== null && `#${number(live.place)}`,
      live.state !== "lost" && live.loaded && `${number(active)}/${number(size)}`,
      live.name !== null && live.name !== "default" && live.name,
      "TokenManager",
    ];
    const text = parts.filter(Boolean).join(" · ");
    if (document.title !== text) document.title = text;
  };
  setInterval(title, 1000);
  live.addEventListener("state", title);
  live.addEventListener("pool", () => redraw(draw));
  live.addEventListener("state", () => redraw(draw));
  live.addEventListener("info", () => {
    redraw(draw);
    redraw(words);
  });
  withTime(draw);
  onLanguage(words);
  words();
  draw();
}
