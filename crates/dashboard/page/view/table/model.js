// @ts-check
// Which tokens the table shows, and in which order.
/** @typedef {import("../../live/pool.js").Pool} Pool */
/** @typedef {import("../../live/pool.js").Token} Token */
/** @typedef {import("../../live/shape.js").Lease} Lease */
/** @typedef {import("./address.js").View} View */
/** @typedef {import("./address.js").Column} Column */
/** @typedef {import("../../live/shape.js").Status} Status */
/** @typedef {{ token: Token, lease: Lease | null, status: Status }} Row */

// Making a collator costs far more than using it. Numbers in names are compared as numbers.
const names = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** @param {Token} token */
const labelTexts = (token) => Object.entries(token.labels).map(([key, text]) => `${key}=${text}`);

/**
 * The tests of a view; only those that it needs, since they run for each of thousands of tokens.
 * @param {View} view @param {(user: string) => boolean} isMe
 * @returns {((row: Row) => boolean)[]}
 */
function tests({ text, show, holder, label }, isMe) {
  /** @type {((row: Row) => boolean)[]} */
  const all = [];
  if (show === "mine") all.push(({ lease }) => lease !== null && isMe(lease.user));
  if (show === "held") all.push(({ status }) => status === "active");
  if (show === "free") all.push(({ status }) => status === "available");
  if (show === "tainted") all.push(({ token }) => token.taints.length > 0);
  if (holder) {
    const wanted = holder.toLowerCase();
    all.push(({ lease }) => lease !== null && lease.user.toLowerCase() === wanted);
  }
  if (label) {
    const [key, ...rest] = label.split("=");
    const wanted = rest.join("=");
    all.push(({ token }) => Object.hasOwn(token.labels, key)
      && (rest.length === 0 || token.labels[key] === wanted));
  }
  if (text) all.push(matches(text.toLowerCase()));
  return all;
}

/** @param {string} text in lower case @returns {(row: Row) => boolean} */
function matches(text) {
  const has = (/** @type {string | null | undefined} */ value) =>
    value?.toLowerCase().includes(text) ?? false;
  return ({ token, lease }) => has(token.name) || String(token.number) === text
    || has(lease?.user) || has(lease && token.note) || token.id.startsWith(text)
    || (lease?.id.startsWith(text) ?? false) || labelTexts(token).some(has)
    || token.taints.some(({ name, reason }) => has(name) || has(reason));
}

/** @type {Record<Status, number>} */
const RANK = { active: 0, tainted: 1, available: 2 };

/** Value of a row by which a column is sorted. Empty texts and infinity come last in both orders.
 * @type {Record<Column, (row: Row) => string | number>} */
const VALUES = {
  token: ({ token }) => token.name,
  status: ({ status, token }) => RANK[status] + (token.retiring ? 0.5 : 0),
  holder: ({ lease }) => lease?.user ?? "",
  note: ({ token, lease }) => (lease && token.note) || "",
  left: ({ lease }) => lease?.expiresAt ?? Infinity,
  labels: ({ token }) => labelTexts(token).join(" "),
  taints: ({ token }) => token.taints.map(({ name }) => name).join(" "),
};

/** @param {string | number} value */
const isEmpty = (value) => value === "" || value === Infinity;

/**
 * The rows of a view.
 * @param {Pool} pool
 * @param {View} view
 * @param {number} now
 * @param {(user: string) => boolean} isMe
 * @returns {Row[]}
 */
export function rowsOf(pool, view, now, isMe) {
  const wanted = tests(view, isMe);
  /** @type {{ row: Row, value: string | number }[]} */
  const found = [];
  const value = VALUES[view.column];
  for (const token of pool.tokens) {
    const row = { token, lease: pool.holder(token, now), status: pool.status(token, now) };
    if (wanted.every((test) => test(row))) found.push({ row, value: value(row) });
  }
  const sign = view.down ? -1 : 1;
  found.sort((one, other) => compare(one.value, other.value, sign)
    || one.row.token.position - other.row.token.position);
  return found.map(({ row }) => row);
}

/** @param {string | number} one @param {string | number} other @param {number} sign */
function compare(one, other, sign) {
  if (one === other) return 0;
  if (isEmpty(one) || isEmpty(other)) return isEmpty(one) ? 1 : -1;
  if (typeof one === "number") return sign * (one - Number(other));
  return sign * names.compare(one, String(other));
}
