// @ts-check
// Lengths of time in the form that the command line and the settings have, too: 90s, 10m, 1h30m.

/** @type {[string, number][]} in milliseconds */
const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]];

/** Lengths below this have one unit: 90s, not 1m30s. */
const ONE_UNIT = 120_000;

/** The exact length. @param {number} ms */
export function duration(ms) {
  let rest = Math.max(0, Math.round(ms));
  if (rest < ONE_UNIT && (rest === 0 || rest % 60_000 !== 0)) {
    return rest % 1000 === 0 ? `${rest / 1000}s` : `${rest}ms`;
  }
  let text = "";
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text;
}

/** A length in whole seconds, unless it is less than one, and in two units at most.
 * @param {number} ms */
export function rough(ms) {
  if (ms < 1000) return duration(ms);
  const step = ms < 3_600_000 ? 1000 : ms < 86_400_000 ? 60_000 : 3_600_000;
  return duration(Math.floor(ms / step) * step);
}

/**
 * Parses a length of time.
 * @param {string} text
 * @returns {number | undefined} in milliseconds; undefined if the text is invalid or has no unit
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
