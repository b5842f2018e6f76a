// @ts-check
// Names of tokens as people write them: "ci-1, ci-2" or "ci-[01-20]".
/** @typedef {import("../../words/language.js").Key} Key */
/** @typedef {{ key: Key, values: Record<string, string | number> }} Wrong */

/** Largest number of tokens added at once. */
export const MOST_NAMES = 10_000;

const NAME = /^(?!\.+$)[A-Za-z0-9._-]{1,63}$/;
const RANGE = /^([^[\]]*)\[(\d{1,15})-(\d{1,15})\]([^[\]]*)$/;

/** @param {string} name of a token */
export const isTokenName = (name) => NAME.test(name);

/** Whether a pool can have this name. @param {string} name */
export const isPoolName = (name) => /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/.test(name);

/**
 * Expands names that are separated by spaces or commas. A range in brackets keeps leading zeros.
 * @param {string} text
 * @returns {{ names: string[], wrong: Wrong | null }}
 */
export function namesIn(text) {
  /** @type {Set<string>} */
  const names = new Set();
  for (const word of text.split(/[\s,]+/).filter(Boolean)) {
    for (const name of expanded(word)) {
      if (!NAME.test(name)) return { names: [], wrong: { key: "editNameWrong", values: { name } } };
      if (names.has(name)) return { names: [], wrong: { key: "editNameTwice", values: { name } } };
      names.add(name);
      if (names.size > MOST_NAMES) {
        return { names: [], wrong: { key: "editNamesMany", values: { most: MOST_NAMES } } };
      }
    }
  }
  return { names: [...names], wrong: null };
}

/** @param {string} word @returns {Generator<string, void>} */
function* expanded(word) {
  const range = RANGE.exec(word);
  if (!range) return yield word;
  const [, before, from, to, after] = range;
  // A range that runs backwards is a mistake, shown as the name that it is not.
  if (Number(from) > Number(to)) return yield word;
  for (let number = Number(from); number <= Number(to); number += 1) {
    yield `${before}${String(number).padStart(from.length, "0")}${after}`;
  }
}
