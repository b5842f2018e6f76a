// @ts-check
import { en } from "./en.js";
import { pt } from "./pt.js";

/** @typedef {keyof typeof en} Key */
/** @typedef {{ [name: string]: string | number }} Values */

const KEPT = "token-manager.language";
const changes = new EventTarget();

/** @type {"en" | "pt-BR"} */
let language = document.documentElement.lang === "pt-BR" ? "pt-BR" : "en";
let numbers = new Intl.NumberFormat(language);
let plurals = new Intl.PluralRules(language);

export const currentLanguage = () => language;

export function switchLanguage() {
  language = language === "en" ? "pt-BR" : "en";
  numbers = new Intl.NumberFormat(language);
  plurals = new Intl.PluralRules(language);
  document.documentElement.lang = language;
  try {
    localStorage.setItem(KEPT, language);
  } catch {
    // Without storage the choice lasts until the page is closed.
  }
  fillStaticWords();
  changes.dispatchEvent(new Event("change"));
}

/** @param {() => void} listener */
export function onLanguage(listener) {
  changes.addEventListener("change", listener);
}

/** @param {number} n */
export const number = (n) => numbers.format(n);

/** The text of a key, with its {names}. @param {Key} key @param {number} [count] */
function pattern(key, count = 0) {
  const words = (language === "en" ? en : pt)[key];
  if (typeof words === "string") return words;
  return plurals.select(count) === "one" ? words.one : words.other;
}

/** @param {Key} key @param {Values} [values] */
export function word(key, values = {}) {
  return pattern(key, Number(values.count)).replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : value ?? whole;
  });
}

/**
 * Fills an element with a sentence that contains elements, such as a user's name, which has to be
 * isolated from the text around it.
 * @param {Element} into @param {Key} key @param {{ [name: string]: Node | string }} parts
 * @param {number} [count]
 */
export function fillWords(into, key, parts, count) {
  const nodes = pattern(key, count).split(/\{(\w+)\}/)
    .map((text, i) => (i % 2 ? parts[text] : text));
  into.replaceChildren(...nodes.filter((node) => node !== "" && node !== undefined));
}

const TURNING = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufeff]/;

/**
 * Isolates a name in a text that can't contain elements (a label, an announcement): characters that
 * turn the direction of text act only within the name, even if it tries to end the isolation.
 * @param {string} name
 */
export function isolated(name) {
  if (!TURNING.test(name)) return name;
  let open = 0;
  const kept = name.replace(/[\u2066-\u2069]/g, (control) => {
    if (control !== "\u2069") open += 1;
    else if (open > 0) open -= 1;
    else return "\ufffd";
    return control;
  });
  return `\u2068${kept}${"\u2069".repeat(open + 1)}`;
}

/** @param {string} code of a problem @returns {Key} */
export function problemKey(code) {
  const key = `problem-${code}`;
  return key in en ? /** @type {Key} */ (key) : "problem";
}

/** Fills the fixed texts of the page, which are named by data-word and similar attributes. */
export function fillStaticWords() {
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = word(/** @type {Key} */ (element.getAttribute("data-word")));
  }
  for (const attribute of ["aria-label", "placeholder", "title"]) {
    for (const element of document.querySelectorAll(`[data-word-${attribute}]`)) {
      const key = /** @type {Key} */ (element.getAttribute(`data-word-${attribute}`));
      element.setAttribute(attribute, word(key));
    }
  }
}
