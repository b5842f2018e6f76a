// @ts-check
// One redraw for all that asked for it, at the next frame.

/** The first change is drawn at once; after it, so many milliseconds pass before the next. Nobody
 * reads faster, and it leaves the machine its time when much happens. */
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

/** Draws again with every second that passes. @param {() => void} draw */
export function withTime(draw) {
  everySecond.push(draw);
  if (everySecond.length > 1) return;
  setInterval(() => everySecond.forEach(redraw), 1000);
}
