// @ts-check
/** @typedef {import("../../live/pool_list.js").PoolRow} PoolRow */

/** @typedef {"name" | "used" | "waiting" | "deadline"} Column */
/** @typedef {{ column: Column, reverse: boolean }} Order */

/** Part of a pool's tokens that are in use, from 0 to 1; -1 for an empty pool.
 * @param {PoolRow} row */
export const usedOf = ({ size, active }) => (size === 0 ? -1 : active / size);

/** @param {PoolRow} a @param {PoolRow} b */
const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** The usual direction of each column: what needs attention comes first. @type {Record<Column,
 * (a: PoolRow, b: PoolRow) => number>} */
const COMPARE = {
  name: byName,
  used: (a, b) => usedOf(b) - usedOf(a) || b.active - a.active,
  waiting: (a, b) => b.waiting - a.waiting || usedOf(b) - usedOf(a),
  // Infinity minus infinity is not a number, which is neither order.
  deadline: (a, b) => (a.deadline ?? Infinity) - (b.deadline ?? Infinity) || 0,
};

/** @param {unknown} column @returns {column is Column} */
export const isColumn = (column) => typeof column === "string" && column in COMPARE;

/** Whether a pool has the query in its name or description.
 * @param {PoolRow} row @param {string} query in lower case */
export const fits = ({ name, description }, query) =>
  name.includes(query) || description.toLowerCase().includes(query);

/**
 * The pools to list: those that fit the query, in order. Equal ones are in the order of their names.
 * @param {Iterable<PoolRow>} rows
 * @param {string} query
 * @param {Order} order
 * @returns {PoolRow[]}
 */
export function listed(rows, query, { column, reverse }) {
  const wanted = query.toLowerCase();
  const found = [];
  for (const row of rows) if (wanted === "" || fits(row, wanted)) found.push(row);
  const compare = COMPARE[column];
  const sign = reverse ? -1 : 1;
  return found.sort((a, b) => sign * compare(a, b) || byName(a, b));
}
