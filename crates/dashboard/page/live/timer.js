// @ts-check
// Timers that must not be late: browsers delay the timers of a background page by up to a minute,
// but not those of a worker.

/** @type {Map<number, () => void>} */
const due = new Map();
/** @type {Worker | null | undefined} null where workers are not available */
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
    // Without the worker, running early is better than never.
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
 * Calls a function when a time has passed.
 * @param {number} ms
 * @param {() => void} then
 * @returns {() => void} cancels the call
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
 * @param {AbortSignal} signal ends the sleep early, without an error
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
