// @ts-check
import { caller } from "./caller.js";
import { Stream } from "./stream.js";
/** @typedef {import("./stream.js").Message} Message */
/** @typedef {{ stop(): void, start(): void }} Line a page's connection to the events */

/** Time for the worker to answer before the page does without it, in milliseconds. */
const PATIENCE = 5000;

/**
 * Joins the stream that all tabs of a pool share, or opens its own where the browser has no shared workers.
 * @param {string} pool its name, or `ALL`
 * @param {(message: Message) => void} tell
 * @returns {Line}
 */
export function openLine(pool, tell) {
  /** @type {Line} */
  let line;
  const alone = () => {
    line.stop();
    line = new Stream(tell, { pool });
    line.start();
  };
  try {
    line = sharedLine(pool, tell, alone);
  } catch {
    // Some browsers have no shared workers, and some forbid them on isolated pages.
    line = new Stream(tell, { pool });
  }
  line.start();
  // A page in the back/forward cache gets no messages, and starts again when it is restored.
  addEventListener("pagehide", () => line.stop());
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted) line.start();
  });
  document.addEventListener("freeze", () => line.stop());
  document.addEventListener("resume", () => line.start());
  return { start: () => line.start(), stop: () => line.stop() };
}

/**
 * @param {string} pool
 * @param {(message: Message) => void} tell
 * @param {() => void} giveUp
 * @returns {Line}
 */
function sharedLine(pool, tell, giveUp) {
  const url = new URL("./worker.js", import.meta.url);
  // A stream keeps the rights with which it was opened, so other callers in this browser have other workers.
  const name = `token-manager ${caller.who.keyId ?? "-"} ${pool}`;
  const worker = new SharedWorker(url, { type: "module", name });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let patience;
  let joined = false;
  const fail = () => {
    if (joined) giveUp();
  };
  worker.onerror = fail;
  worker.port.onmessage = ({ data }) => {
    // Messages under way when this page left must not be answered: that would join it again.
    if (!joined) return;
    clearTimeout(patience);
    worker.port.postMessage("got");
    tell(data);
  };
  return {
    start() {
      if (joined) return;
      joined = true;
      worker.port.postMessage("join");
      patience = setTimeout(fail, PATIENCE);
    },
    stop() {
      joined = false;
      clearTimeout(patience);
      worker.port.postMessage("bye");
    },
  };
}
