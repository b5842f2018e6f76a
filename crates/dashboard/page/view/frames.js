// @ts-check
// One redraw for all callers that requested it, at the next frame.

/** Time between two redraws, in milliseconds; the first change is drawn at once. Faster redraws
 * would not be readable, and would take processor time under load. */
const APART = 50;

/** @type {Set<() => void>} */
const wanted = new Set();
/** @type {(() => void)[]} */
const everySecond = [];
let asked = false;
let drawnAt = -Infinity;

function drawWanted() {
  asked = false;
  drawnAt = performance.now();
  const draws = [...wanted];
  wanted.clear();
  for (const draw of draws) draw();
}

/** @param {() => void} draw */
export function redraw(draw) {
  wanted.add(draw);
  if (asked) return;
  asked = true;
  const wait = drawnAt + APART - performance.now();
  if (wait <= 0) requestAnimationFrame(drawWanted);
  else setTimeout(() => requestAnimationFrame(drawWanted), wait);
}

/** Draws again every second. @param {() => void} draw */
export function withTime(draw) {
  everySecond.push(draw);
  if (everySecond.length > 1) return;
  setInterval(() => everySecond.forEach(redraw), 1000);
}
