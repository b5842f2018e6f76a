// @ts-check
// One redraw a frame, and only of what asked for it.

/** @type {Set<() => void>} */
const wanted = new Set();
/** @type {(() => void)[]} */
const everySecond = [];
let asked = false;

function drawWanted() {
  asked = false;
  const draws = [...wanted];
  wanted.clear();
  for (const draw of draws) draw();
}

/** @param {() => void} draw */
export function redraw(draw) {
  wanted.add(draw);
  if (asked) return;
  asked = true;
  requestAnimationFrame(drawWanted);
}

/** Draws again with every second that passes. @param {() => void} draw */
export function withTime(draw) {
  everySecond.push(draw);
  if (everySecond.length > 1) return;
  setInterval(() => everySecond.forEach(redraw), 1000);
}
