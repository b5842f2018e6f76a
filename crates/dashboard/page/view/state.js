// @ts-check
// The state of a token in words, and what keeps it out of use.
import { blockedBy } from "../live/pool.js";
import { isolated, word } from "../words/language.js";
import { leftInWords, timeOfDay } from "../words/time.js";
import { make } from "./dom.js";
import { evicts, shownTime } from "./moment.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */

/** Most labels shown on a card. */
const CHIPS = 2;

/** Whether the token's name says more than its number. @param {Token} token */
export const isNamed = ({ name, number }) => name !== String(number);

/**
 * Whether a token is next to expire or to be evicted, for data-next.
 * @param {Live} live @param {Token} token @param {number} now
 */
export function nextOf(live, token, now) {
  const next = [];
  if (live.pool.nextToExpire(now) === token) next.push("expire");
  if (evicts(live) && live.pool.nextToEvict(now) === token) next.push("evict");
  return next.join(" ");
}

/**
 * Why a token gets no new lease, for data-off; empty if it does.
 * @param {Token} token @param {number} now
 * @returns {"" | "retiring" | "tainted"}
 */
export const offOf = (token, now) =>
  token.retiring ? "retiring" : blockedBy(token, now) ? "tainted" : "";

/**
 * Why a token gets no new lease, in words; empty if it does.
 * @param {Token} token @param {number} now
 */
export function offWords(token, now) {
  if (token.retiring) return word(token.lease ? "offLater" : "offRetiring");
  const taint = blockedBy(token, now);
  if (!taint) return "";
  const until = taint.until === null ? "" : ` ${word("drawerUntil", { time: timeOfDay(taint.until) })}`;
  return (taint.reason ? word("offBecause", { reason: isolated(taint.reason) }) : word("offTainted"))
    + until;
}

/** Full description of a token, in a sentence. @param {Live} live @param {Token} token */
export function tokenSentence(live, token) {
  const now = shownTime(live);
  const lease = live.pool.holder(token, now);
  const off = offWords(token, now);
  if (lease === null) {
    if (!off) return word("cellFree", { number: token.name });
    return `${word("token", { number: token.name })}, ${off}`;
  }
  const next = nextOf(live, token, now);
  const values = {
    number: token.name,
    user: isolated(lease.user),
    left: leftInWords(lease.expiresAt - live.clock.now()),
  };
  const sentences = [word(live.state === "lost" ? "cellHeldStale" : "cellHeld", values)];
  if (next.includes("expire")) sentences.push(word("nextToExpire"));
  if (next.includes("evict")) sentences.push(word("nextToEvict"));
  if (off) sentences.push(off);
  return sentences.join(", ");
}

/** A label in a text. @param {[string, string]} label */
export const labelOf = ([key, value]) => (value === "" ? key : `${key}: ${value}`);

/** Values that say enough without their key, unlike numbers and "true". */
const SPEAKS = /^(?!true$|false$|yes$|no$|on$|off$).*[a-z]/i;

/** A label. @param {string} key @param {string} value @param {boolean} [short] without its key */
export function chip(key, value, short = false) {
  const element = make("i", "chip", short ? value : labelOf([key, value]));
  element.title = `${key}=${value}`;
  return element;
}

/** The first labels of a token, and the number of the others. @param {Token} token */
export function chips({ labels }) {
  const all = Object.entries(labels);
  const shown = all.slice(0, CHIPS).map(([key, value]) => chip(key, value, SPEAKS.test(value)));
  if (all.length > CHIPS) shown.push(make("i", "chip more", `+${all.length - CHIPS}`));
  return shown;
}
