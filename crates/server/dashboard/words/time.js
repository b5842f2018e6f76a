// @ts-check
import { currentLanguage, number, onLanguage } from "./language.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** @type {[Intl.RelativeTimeFormatUnit & string, number][]} */
const UNITS = [["day", DAY], ["hour", HOUR], ["minute", MINUTE], ["second", SECOND]];

/** Making an Intl object costs far more than using it. */
function makeFormats() {
  const language = currentLanguage();
  /** @param {string} unit @param {"long" | "narrow"} unitDisplay */
  const unit = (unit, unitDisplay) =>
    new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay, maximumFractionDigits: 3 });
  return {
    units: Object.fromEntries(UNITS.map(([name]) => [name, unit(name, "long")])),
    list: new Intl.ListFormat(language, { type: "unit", style: "narrow" }),
    ago: new Intl.RelativeTimeFormat(language, { numeric: "always" }),
    time: new Intl.DateTimeFormat(language, { timeStyle: "medium" }),
    dateTime: new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" }),
    /** @type {Map<number, string>} */
    lengths: new Map(),
  };
}
let formats = makeFormats();
onLanguage(() => (formats = makeFormats()));

/** @param {number} ms */
const whole = (ms) => Math.max(0, Math.ceil(ms / SECOND));
/** @param {number} n */
const two = (n) => String(n).padStart(2, "0");

/** What is left of a lease: 1:20, 2:05:09, 3 d 04:00. @param {number} ms */
export function countdown(ms) {
  const seconds = whole(ms);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}:${two(minutes % 60)}:${two(seconds % 60)}`;
  return `${number(Math.floor(hours / 24))} d ${two(hours % 24)}:${two(minutes % 60)}`;
}

/** A length in words, of its two largest units: 1 minute 20 seconds. @param {number} ms */
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

/** What is left of a lease, in words and whole seconds, to be read aloud. @param {number} ms */
export const leftInWords = (ms) => lengthInWords(whole(ms) * SECOND);

/** How long ago something was: 3 minutes ago. @param {number} ms */
export function ago(ms) {
  const [unit, size] = UNITS.find(([, size]) => ms >= size) ?? ["second", SECOND];
  return formats.ago.format(-Math.floor(Math.max(0, ms) / size), unit);
}

/** The time of day at which something was, with its date if that was another day.
 * @param {number} at ms since 1970 */
export function timeOfDay(at) {
  const then = new Date(at);
  const sameDay = then.toDateString() === new Date().toDateString();
  return (sameDay ? formats.time : formats.dateTime).format(then);
}
