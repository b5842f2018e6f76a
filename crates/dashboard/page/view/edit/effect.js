// @ts-check
// The effect of a change of a pool or its tokens, in sentences.
import { duration } from "../../words/duration.js";
import { word } from "../../words/language.js";
import { NAMES } from "../policy.js";
import { namesIn } from "./names.js";
/** @typedef {import("../../words/language.js").Key} Key */
/** @typedef {import("../../live/manage.js").Applied} Applied */
/** @typedef {import("../policy.js").Policy} Policy */
/** @typedef {import("../policy.js").Member} Member */

/** @type {Record<string, Key>} */
const CHOICES = {
  "evict-oldest": "formFullEvict", wait: "formFullWait", reject: "formFullReject",
  open: "formOpen", fixed: "formFixed", everyone: "formEveryone", holder: "formHolder",
  none: "formNoLimit", lease: "formAsLease", "": "formNothing",
};

/** @param {string} text value of a member, as documents have it */
const valueWords = (text) => (text in CHOICES ? word(CHOICES[text]) : text);

/**
 * The changed members: "Lease: 2m → 30m".
 * @param {Applied} applied
 */
export function changeLines({ changes }) {
  const fields = changes.find(({ kind }) => kind === "pool.changed")?.fields ?? [];
  return fields.map(({ name, before, after }) => {
    // A description is any text, and no choice even if it has the same word.
    const show = name === "description" ? (/** @type {string} */ text) => text || "–" : valueWords;
    const member = name in NAMES ? word(NAMES[/** @type {Member} */ (name)]) : name;
    return word("editChange", { member, before: show(before ?? ""), after: show(after ?? "") });
  });
}

/**
 * Consequences for present leases and requests.
 * @param {{ active: number, waiting: number }} pool
 * @param {Policy} before @param {Policy} after
 * @param {Applied} applied
 */
export function consequences(pool, before, after, applied) {
  const said = [];
  const lasts = before.lease_seconds !== after.lease_seconds
    || before.max_lease_seconds !== after.max_lease_seconds;
  if (lasts && pool.active > 0) {
    said.push(word("effectLease", { count: pool.active,
      max: duration(after.max_lease_seconds * 1000) }));
  }
  if (before.when_full !== after.when_full && pool.waiting > 0) {
    said.push(word(after.when_full === "evict-oldest" ? "effectEvict" : "effectWait",
      { count: pool.waiting }));
  }
  if (after.max_per_user !== null && (before.max_per_user ?? Infinity) > after.max_per_user) {
    said.push(word("effectUser"));
  }
  if (before.membership === "open" && after.membership === "fixed") said.push(word("effectFixed"));
  if (before.show_values === "holder" && after.show_values === "everyone") {
    said.push(word("effectEveryone"));
  }
  return [...said, ...counts(applied)];
}

/** Leases and waiting requests that end by a change. @param {Applied} applied */
export function counts({ leasesEnded, waitsGivenUp }) {
  const said = [];
  if (leasesEnded > 0) said.push(word("effectLeasesEnd", { count: leasesEnded }));
  if (waitsGivenUp > 0) said.push(word("effectWaitsEnd", { count: waitsGivenUp }));
  return said;
}

/** The tokens that a text adds, or its mistake, in words.
 * @param {string} text @param {Key} none words for an empty text */
export function tokensWords(text, none) {
  const { names, wrong } = namesIn(text);
  if (wrong) return word(wrong.key, wrong.values);
  const count = names.length;
  if (count === 0) return word(none);
  if (count <= 3) return word("addThese", { count, names: names.join(", ") });
  return word("addRange", { count, first: names[0], last: names[count - 1] });
}
