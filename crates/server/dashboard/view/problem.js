// @ts-check
import { Problem } from "../live/api.js";
import { problemKey, word } from "../words/language.js";

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
