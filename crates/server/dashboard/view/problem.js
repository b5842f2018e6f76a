// @ts-check
import { Problem } from "../live/api.js";
import { problemKey, word } from "../words/language.js";

/** What went wrong, and what to do, in a sentence. @param {unknown} error */
export function problemWords(error) {
  if (!(error instanceof Problem)) return error instanceof Error ? error.message : String(error);
  return word(problemKey(error.code), { detail: error.detail || error.title });
}
