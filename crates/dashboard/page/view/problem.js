// @ts-check
import { Problem } from "../live/api.js";
import { problemKey, word } from "../words/language.js";
/** @typedef {import("../live/live.js").Live} Live */

/**
 * What went wrong, and what to do, in a sentence.
 * @param {unknown} error
 * @param {boolean} [reading] whether it was about reading only, so that nothing can have happened
 */
export function problemWords(error, reading = false) {
  if (!(error instanceof Problem)) return error instanceof Error ? error.message : String(error);
  if (reading && error.status === 0) return word("unreachable");
  return word(problemKey(error.code), { detail: error.detail || error.title });
}

/** Whether it says something of the connection, which is out of date once that is back.
 * @param {unknown} error */
export const isOfConnection = (error) => error instanceof Problem && error.status === 0;

/** Each time that the page is live again. @param {Live} live @param {() => void} then */
export function onBack(live, then) {
  let before = live.state;
  live.addEventListener("state", () => {
    if (live.state === "live" && before !== "live") then();
    before = live.state;
  });
}
