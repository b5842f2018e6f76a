// @ts-check
// Lengths of time in the form that the command line and the settings have, too: 90s, 10m, 1h 30m.

/** @type {[string, number][]} in milliseconds */
const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]];

/** A length in its two largest units. @param {number} ms */
export function duration(ms) {
  const whole = Math.max(0, Math.round(ms));
  if (whole === 0) return "0s";
  const first = UNITS.findIndex(([, size]) => whole >= size);
  let rest = whole;
  const parts = [];
  for (const [unit, size] of UNITS.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${count}${unit}`);
    rest -= count * size;
  }
  return parts.join(" ");
}

/** How long something took, in whole seconds unless it was less than one. @param {number} ms */
export const lasted = (ms) => duration(ms < 1000 ? ms : Math.floor(ms / 1000) * 1000);

/**
 * What somebody wrote as a length of time.
 * @param {string} text
 * @returns {number | undefined} in milliseconds; nothing where it is none, or has no unit
 */
export function parseDuration(text) {
  const compact = text.trim().toLowerCase().replace(/\s+/g, "");
  if (!/^(\d+(ms|[dhms]))+$/.test(compact)) return undefined;
  let whole = 0;
  for (const [, count, unit] of compact.matchAll(/(\d+)(ms|[dhms])/g)) {
    whole += Number(count) * (UNITS.find(([name]) => name === unit)?.[1] ?? 0);
  }
  return Number.isSafeInteger(whole) ? whole : undefined;
}
