// @ts-check
// Timers for what must not be late: browsers let the timers of a page in the background wait for up
// to a minute, but not those of a worker.

/** @type {Map<number, () => void>} */
const due = new Map();
/** @type {Worker | null | undefined} null where there can't be one */
let worker;
let last = 0;

function start() {
  try {
    worker = new Worker(new URL("./ticker.js", import.meta.url), { type: "module" });
  } catch {
    return (worker = null);
  }
  worker.onmessage = ({ data }) => run(data);
  worker.onerror = () => {
    worker = null;
    // Too early is better than never.
    for (const id of [...due.keys()]) run(id);
  };
  return worker;
}

/** @param {number} id */
function run(id) {
  const then = due.get(id);
  due.delete(id);
  then?.();
}

/**
 * Does something when a time has passed.
 * @param {number} ms
 * @param {() => void} then
 * @returns {() => void} calls it off
 */
export function after(ms, then) {
  const id = (last += 1);
  due.set(id, then);
  const ticker = worker === undefined ? start() : worker;
  const timer = ticker ? undefined : setTimeout(run, ms, id);
  ticker?.postMessage({ id, ms });
  return () => {
    due.delete(id);
    clearTimeout(timer);
  };
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal ends it early, which is not an error
 * @returns {Promise<void>}
 */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    const cancel = after(ms, resolve);
    signal.addEventListener("abort", () => {
      cancel();
      resolve();
    }, { once: true });
    if (signal.aborted) resolve();
  });
}
