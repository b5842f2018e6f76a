// @ts-check
import { number, onLanguage, word } from "../words/language.js";
import { ChartCursor } from "./chart_cursor.js";
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

/** @param {Bucket[]} buckets @param {"active" | "waiting"} kind
 * @param {number} top count at the top of the drawing */
function line(buckets, kind, top) {
  const from = WIDTH - buckets.length;
  let path = "";
  buckets.forEach(({ [kind]: count }, i) => {
    if (count === null) return;
    const y = GROUND - (Math.min(count, top) / Math.max(1, top)) * HEIGHT;
    path += `${path === "" ? "M" : "L"}${from + i} ${y.toFixed(1)}H${from + i + 1}`;
  });
  return path;
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

/** The use of the pool in the last ten minutes. @param {Live} live */
export function startChart(live) {
  const chart = part("chart", SVGElement);
  const cursor = new ChartCursor(WIDTH);
  const draw = () => {
    const now = shownTime(live);
    const { active, size } = live.pool.counts(now);
    const buckets = live.series.buckets(now, active, live.pool.overdue(now));
    // Tokens and requests have one scale, so that the two curves can be compared.
    const queued = Math.max(0, ...buckets.map(({ waiting }) => waiting ?? 0));
    const top = Math.max(size, queued);
    const used = line(buckets, "active", top);
    part("chart-line", SVGElement).setAttribute("d", used);
    part("chart-area", SVGElement).setAttribute("d",
      used && `${used}V${GROUND}H${WIDTH - buckets.length}z`);
    part("chart-waiting", SVGElement).setAttribute("d",
      queued > 0 ? line(buckets, "waiting", top) : "");
    /** @type {{ [kind: string]: number }} */
    const sums = {};
    for (const [kind, ground] of ROWS) {
      part(`chart-${kind}`, SVGElement).setAttribute("d", marks(buckets, kind, ground));
      sums[kind] = buckets.reduce((sum, bucket) => sum + bucket[kind], 0);
    }
    setText(part("chart-top"), top > 0 ? number(top) : "");
    cursor.show(buckets);
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
  live.addEventListener("info", () => {
    if (live.info) live.series.wait(live.info.waiting, live.clock.now());
  });
  onLanguage(draw);
  draw();
}
