// @ts-check
import { Problem } from "../live/api.js";
import { problemKey, word } from "../words/language.js";
/** @typedef {import("../live/live.js").Live} Live */

/**
 * The error and its remedy in a sentence.
 * @param {unknown} error
 * @param {boolean} [reading] whether the request only read, so that nothing can have changed
 */
export function problemWords(error, reading = false) {
  if (!(error instanceof Problem)) return error instanceof Error ? error.message : String(error);
  if (reading && error.status === 0) return word("unreachable");
  return word(problemKey(error.code), { detail: error.detail || error.title });
}

/** Whether the error is about the connection, so that it is obsolete once that is back.
 * @param {unknown} error */
export const isOfConnection = (error) => error instanceof Problem && error.status === 0;

/** Calls a function each time the page is live again.
 * @param {Live} live @param {() => void} then */
export function onBack(live, then) {
  let before = live.state;
  live.addEventListener("state", () => {
    if (live.state === "live" && before !== "live") then();
    before = live.state;
  });
}
