// @ts-check
import { number, onLanguage, word } from "../words/language.js";
import { part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/series.js").Bucket} Bucket */

/** In the units of the drawing, which is 300 wide, one for each bucket: the ground of the area and
 * its height, then three rows of marks. */
const WIDTH = 300;
const GROUND = 67;
const HEIGHT = 66;
/** @type {["allocations" | "expiries" | "evictions", number][]} */
const ROWS = [["allocations", 78], ["expiries", 89], ["evictions", 100]];
const ROW_HEIGHT = 9;

/** @param {Bucket[]} buckets @param {number} size */
function activeLine(buckets, size) {
  const from = WIDTH - buckets.length;
  return buckets.map(({ active }, i) => {
    const y = GROUND - (Math.min(active, size) / Math.max(1, size)) * HEIGHT;
    return `${i === 0 ? "M" : "L"}${from + i} ${y.toFixed(1)}H${from + i + 1}`;
  }).join("");
}

/** @param {Bucket[]} buckets @param {"allocations" | "expiries" | "evictions"} kind
 * @param {number} ground */
function marks(buckets, kind, ground) {
  const most = Math.max(1, ...buckets.map((bucket) => bucket[kind]));
  const from = WIDTH - buckets.length;
  let path = "";
  buckets.forEach((bucket, i) => {
    if (bucket[kind] === 0) return;
    // A single event stays visible beside a thousand.
    const height = ROW_HEIGHT * (0.4 + 0.6 * (bucket[kind] / most));
    path += `M${from + i} ${ground}v-${height.toFixed(1)}h.9V${ground}z`;
  });
  return path;
}

/** @param {Live} live */
export function startChart(live) {
  const chart = part("chart", SVGElement);
  const draw = () => {
    const now = shownTime(live);
    const { active, size } = live.pool.counts(now);
    const buckets = live.series.buckets(now, active, live.pool.overdue(now));
    const line = activeLine(buckets, size);
    part("chart-line", SVGElement).setAttribute("d", line);
    part("chart-area", SVGElement).setAttribute("d",
      line && `${line}V${GROUND}H${WIDTH - buckets.length}z`);
    /** @type {{ [kind: string]: number }} */
    const sums = {};
    for (const [kind, ground] of ROWS) {
      part(`chart-${kind}`, SVGElement).setAttribute("d", marks(buckets, kind, ground));
      sums[kind] = buckets.reduce((sum, bucket) => sum + bucket[kind], 0);
    }
    setText(part("chart-top"), size > 0 ? number(size) : "");
    chart.setAttribute("aria-label", word("chartSays", { active, size, ...sums }));
  };
  // A bucket is two seconds long, so one redraw per second is enough for any rate of events.
  withTime(() => live.state !== "lost" && draw());
  let drawnAt = -Infinity;
  live.addEventListener("pool", () => {
    if (performance.now() - drawnAt < 900) return;
    drawnAt = performance.now();
    redraw(draw);
  });
  live.addEventListener("series", () => redraw(draw));
  onLanguage(draw);
  draw();
}
