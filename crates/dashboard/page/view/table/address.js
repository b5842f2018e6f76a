// @ts-check
// The table's filter in the page's address: #table?holder=ann&label=region%3Deu&show=free.

export const SHOWN = /** @type {const} */ (["all", "mine", "held", "free", "tainted"]);
export const COLUMNS = /** @type {const} */ (
  ["token", "status", "holder", "note", "left", "labels", "taints"]);
/** @typedef {(typeof SHOWN)[number]} Shown */
/** @typedef {(typeof COLUMNS)[number]} Column */

/** @typedef {{ text: string, show: Shown, holder: string, label: string, column: Column,
 *   down: boolean }} View what the table shows, and in which order; `down`: largest first */

/** @type {View} */
export const ALL = { text: "", show: "all", holder: "", label: "", column: "token", down: false };

/**
 * Parses an address.
 * @param {string} hash
 * @returns {View | null} null if it is not that of a table
 */
export function viewOf(hash) {
  const found = /^#table(?:\?(.*))?$/.exec(hash);
  if (!found) return null;
  const query = new URLSearchParams(found[1] ?? "");
  const sort = query.get("sort") ?? "";
  const [show, column] = [query.get("show"), sort.replace(/^-/, "")];
  return {
    text: query.get("q") ?? "",
    show: SHOWN.find((name) => name === show) ?? "all",
    holder: query.get("holder") ?? "",
    label: query.get("label") ?? "",
    column: COLUMNS.find((name) => name === column) ?? "token",
    down: sort.startsWith("-"),
  };
}

/** @param {View} view */
export function addressOf({ text, show, holder, label, column, down }) {
  const sort = column === "token" && !down ? "" : `${down ? "-" : ""}${column}`;
  const parts = { q: text, show: show === "all" ? "" : show, holder, label, sort };
  const query = new URLSearchParams(Object.entries(parts).filter(([, value]) => value !== ""));
  return String(query) === "" ? "#table" : `#table?${query}`;
}

/** Whether two views show the same tokens in the same order. @param {View} one @param {View} other */
export const sameView = (one, other) => addressOf(one) === addressOf(other);
