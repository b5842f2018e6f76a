// @ts-check
// The policy of a pool: in sentences, in its form, and as a document.
import { duration, parseDuration } from "../words/duration.js";
import { word } from "../words/language.js";
import { part } from "./dom.js";
import { Mistake } from "./edit/form.js";
/** @typedef {import("../live/shape.js").Policy} Policy */
/** @typedef {{ description: string, policy: Policy }} Rules what the form edits */

/** Members of a pool in a document, with the fields of the form that hold them. */
const FIELDS = /** @type {const} */ ({
  description: "policy-description", lease: "policy-lease", max_lease: "policy-max",
  when_full: "policy-full", min_hold: "policy-hold", max_per_user: "policy-user",
  membership: "policy-membership", show_values: "policy-values",
});

/** Names of the members, as the form has them. */
export const NAMES = /** @type {const} */ ({
  description: "formDescription", lease: "formLease", max_lease: "formMax",
  when_full: "formFull", min_hold: "formHold", max_per_user: "formUser",
  membership: "formMembership", show_values: "formValues",
});

/** @typedef {keyof typeof FIELDS} Member */
/** @typedef {Partial<Record<Member, string | number>>} PoolDocument */

/** The policy of a new pool. @type {Policy} */
export const NEW_POLICY = {
  when_full: "evict-oldest", lease_seconds: 120, max_lease_seconds: 120, min_hold_seconds: 0,
  max_per_user: null, membership: "open", show_values: "holder",
};

/** What pools have unless their owner chose otherwise, so that it need not be said. */
const USUAL = {
  default: { membership: "fixed", values: "everyone" },
  others: { membership: "open", values: "holder" },
};

/** @param {{ name: string, policy: Policy }} info */
export function policyWords({ name, policy }) {
  const lease = duration(policy.lease_seconds * 1000);
  const max = duration(policy.max_lease_seconds * 1000);
  const hold = duration(policy.min_hold_seconds * 1000);
  const renews = policy.max_lease_seconds > policy.lease_seconds;
  const sentences = [word(renews ? "policyRenew" : "policyLease", { lease, max })];
  if (policy.when_full === "reject") sentences.push(word("policyReject"));
  else if (policy.when_full === "wait") sentences.push(word("policyWait"));
  else if (policy.min_hold_seconds > 0) sentences.push(word("policyEvictHold", { hold }));
  else sentences.push(word("policyEvict"));
  if (policy.max_per_user !== null) {
    sentences.push(word("policyUser", { count: policy.max_per_user }));
  }
  const usual = USUAL[name === "default" ? "default" : "others"];
  if (policy.membership !== usual.membership) sentences.push(word(`policy-${policy.membership}`));
  if (policy.show_values !== usual.values) sentences.push(word(`policy-${policy.show_values}`));
  return sentences.join(" ");
}

/** Longest lease, in milliseconds: a year. */
const LONGEST = 365 * 86_400_000;
const MOST_PER_USER = 1_000_000;

/** @param {string} id */
const field = (id) =>
  /** @type {HTMLInputElement | HTMLSelectElement} */ (document.getElementById(id));

/** Shows the rules in the form. @param {Rules} rules */
export function fillForm({ description, policy }) {
  const { lease_seconds: lease, max_lease_seconds: most } = policy;
  const texts = {
    description,
    lease: duration(lease * 1000),
    // Empty means: as the lease, also after the lease was changed.
    max_lease: most === lease ? "" : duration(most * 1000),
    when_full: policy.when_full,
    min_hold: policy.min_hold_seconds === 0 ? "" : duration(policy.min_hold_seconds * 1000),
    max_per_user: policy.max_per_user === null ? "" : String(policy.max_per_user),
    membership: policy.membership,
    show_values: policy.show_values,
  };
  for (const [member, id] of Object.entries(FIELDS)) {
    field(id).value = texts[/** @type {Member} */ (member)];
  }
}

/** @param {Member} member @param {number} empty length that an empty field means
 * @param {number} most */
function length(member, empty, most) {
  const id = FIELDS[member];
  const text = part(id, HTMLInputElement).value.trim();
  if (text === "") return empty;
  const ms = parseDuration(text);
  if (ms === undefined || ms > most) throw new Mistake("lengthWrong", { max: duration(most) }, id);
  return ms;
}

function perUser() {
  const id = FIELDS.max_per_user;
  const text = part(id, HTMLInputElement).value.trim();
  if (text === "") return null;
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MOST_PER_USER) return count;
  throw new Mistake("editUserWrong", { most: MOST_PER_USER }, id);
}

/** Reads the form. @returns {Rules} @throws {Mistake} */
export function readForm() {
  const lease = length("lease", NEW_POLICY.lease_seconds * 1000, LONGEST);
  if (lease === 0) throw new Mistake("lengthWrong", { max: duration(LONGEST) }, FIELDS.lease);
  const most = length("max_lease", lease, LONGEST);
  if (most < lease) throw new Mistake("editMaxWrong", { lease: duration(lease) }, FIELDS.max_lease);
  const hold = length("min_hold", 0, lease);
  return {
    description: part(FIELDS.description, HTMLInputElement).value.trim(),
    policy: {
      lease_seconds: lease / 1000,
      max_lease_seconds: most / 1000,
      min_hold_seconds: hold / 1000,
      max_per_user: perUser(),
      ...choices(),
    },
  };
}

function choices() {
  const chosen = (/** @type {string} */ id) => part(id, HTMLSelectElement).value;
  return /** @type {Pick<Policy, "when_full" | "membership" | "show_values">} */ ({
    when_full: chosen(FIELDS.when_full),
    membership: chosen(FIELDS.membership),
    show_values: chosen(FIELDS.show_values),
  });
}

/** The rules in the form of a document. @param {Rules} rules @returns {Required<PoolDocument>} */
function documentOf({ description, policy }) {
  const { lease_seconds: lease, max_lease_seconds: most } = policy;
  return {
    description,
    lease: duration(lease * 1000),
    max_lease: most === lease ? "lease" : duration(most * 1000),
    when_full: policy.when_full,
    min_hold: duration(policy.min_hold_seconds * 1000),
    max_per_user: policy.max_per_user ?? "none",
    membership: policy.membership,
    show_values: policy.show_values,
  };
}

/**
 * The members that differ.
 * @param {Rules} before @param {Rules} after
 * @returns {PoolDocument}
 */
export function changesBetween(before, after) {
  const [was, is] = [documentOf(before), documentOf(after)];
  const members = /** @type {Member[]} */ (Object.keys(FIELDS));
  return Object.fromEntries(members.filter((name) => was[name] !== is[name])
    .map((name) => [name, is[name]]));
}
