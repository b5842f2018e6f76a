// @ts-check
import { rough } from "./duration.js";
import { currentLanguage, onLanguage, word } from "./language.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** @type {[string, number][]} */
const UNITS = [["day", DAY], ["hour", HOUR], ["minute", MINUTE], ["second", SECOND]];

/** Builds the formats once per language: making an Intl object costs far more than using it. */
function makeFormats() {
  const language = currentLanguage();
  /** @param {string} unit @param {"long" | "narrow"} unitDisplay */
  const unit = (unit, unitDisplay) =>
    new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay, maximumFractionDigits: 3 });
  return {
    units: Object.fromEntries(UNITS.map(([name]) => [name, unit(name, "long")])),
    list: new Intl.ListFormat(language, { type: "unit", style: "narrow" }),
    time: new Intl.DateTimeFormat(language, { timeStyle: "medium" }),
    short: new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }),
    dateTime: new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" }),
    /** @type {Map<number, string>} */
    lengths: new Map(),
  };
}
let formats = makeFormats();
onLanguage(() => (formats = makeFormats()));

/** @param {number} ms */
const whole = (ms) => Math.max(0, Math.ceil(ms / SECOND));
/** Remaining time of a lease, in whole seconds: 80s, 3m20s. @param {number} ms */
export const countdown = (ms) => rough(whole(ms) * SECOND);

/** A length for screen readers, in its two largest units: 1 minute 20 seconds.
 * @param {number} ms */
function lengthInWords(ms) {
  const known = formats.lengths.get(ms);
  if (known !== undefined) return known;
  const first = UNITS.findIndex(([, size]) => ms >= size);
  let words;
  if (first < 0 || first === UNITS.length - 1) {
    words = formats.units.second.format(Math.max(0, ms) / SECOND);
  } else {
    const [name, size] = UNITS[first];
    const [nextName, nextSize] = UNITS[first + 1];
    const count = Math.floor(ms / size);
    const rest = Math.floor((ms - count * size) / nextSize);
    const parts = [formats.units[name].format(count)];
    if (rest > 0) parts.push(formats.units[nextName].format(rest));
    words = formats.list.format(parts);
  }
  if (formats.lengths.size > 5000) formats.lengths.clear();
  formats.lengths.set(ms, words);
  return words;
}

/** Remaining time of a lease, in words and whole seconds, for screen readers. @param {number} ms */
export const leftInWords = (ms) => lengthInWords(whole(ms) * SECOND);

/** Time since an event: 3m20s ago. @param {number} ms */
export const ago = (ms) => word("ago", { length: rough(Math.max(SECOND, ms)) });

/** The time of day of an event, with its date if that was another day.
 * @param {number} at ms since 1970 */
export function timeOfDay(at) {
  const then = new Date(at);
  const sameDay = then.toDateString() === new Date().toDateString();
  return (sameDay ? formats.time : formats.dateTime).format(then);
}

/** A day with its time, to the minute, for times that are far away. @param {number} at ms since 1970 */
export const dayAndTime = (at) => formats.short.format(at);
