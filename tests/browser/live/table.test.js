// @ts-check
// What the table shows, and in which order; names and labels as people write them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Pool } from "../../../crates/dashboard/page/live/pool.js";
import { labelsIn, labelsText } from "../../../crates/dashboard/page/view/edit/labels.js";
import { isPoolName, MOST_NAMES, namesIn } from "../../../crates/dashboard/page/view/edit/names.js";
import { addressOf, ALL, viewOf } from "../../../crates/dashboard/page/view/table/address.js";
import { rowsOf } from "../../../crates/dashboard/page/view/table/model.js";
import { lease, rows, START } from "./ground.js";

/** @typedef {import("../../../crates/dashboard/page/view/table/address.js").View} View */

/** @type {import("../../../crates/dashboard/page/live/shape.js").Taint} */
const cordon = { name: "cordon", effect: "no-new-leases", reason: "disk full", by: null, since: START,
  until: null };

/** A pool of ci-1 to ci-12: the tokens 2 and 3 are held, 4 is cordoned, and 5 has a note of its own. */
function pool() {
  const pool = new Pool();
  const all = rows(12, { 1: lease(2, START + 9000), 2: lease(1, START + 5000) });
  pool.replace(all.map((row, i) => ({
    ...row, name: `ci-${i + 1}`, note: i === 2 ? "PR 7" : null,
    labels: /** @type {Record<string, string>} */ (i < 4 ? { region: i % 2 ? "us" : "eu" } : {}),
    taints: i === 3 ? [cordon] : i === 4 ? [{ ...cordon, effect: /** @type {const} */ ("note") }] : [],
  })));
  return pool;
}

/** @param {Partial<View>} view */
const shown = (view) => rowsOf(pool(), { ...ALL, ...view }, START, (user) => user === "user 1")
  .map(({ token }) => token.name.slice(3)).join(" ");

test("each filter keeps its tokens, and all of them together", () => {
  assert.equal(shown({}), "1 2 3 4 5 6 7 8 9 10 11 12");
  assert.equal(shown({ show: "mine" }), "3");
  assert.equal(shown({ show: "held" }), "2 3");
  assert.equal(shown({ show: "tainted" }), "4 5");
  assert.equal(shown({ show: "free", text: "ci-1" }), "1 10 11 12");
  assert.equal(shown({ show: "free", label: "region" }), "1");
  assert.equal(shown({ label: "region=us" }), "2 4");
  assert.equal(shown({ label: "constructor" }), "");
  assert.equal(shown({ holder: "USER 2" }), "2");
  for (const text of ["pr 7", "disk", "region=eu"]) assert.notEqual(shown({ text }), "", text);
  assert.equal(shown({ text: "user 2", show: "mine" }), "");
});

test("each column sorts both ways, and tokens without a value come last", () => {
  assert.equal(shown({ down: true }), "12 11 10 9 8 7 6 5 4 3 2 1");
  assert.match(shown({ column: "left" }), /^3 2 1 4 5/);
  assert.match(shown({ column: "left", down: true }), /^2 3 1 4 5/);
  assert.match(shown({ column: "holder", down: true }), /^2 3 1/);
  assert.match(shown({ column: "status" }), /^2 3 4 1 5/);
  assert.match(shown({ column: "labels" }), /^1 3 2 4 5/);
  assert.match(shown({ column: "taints" }), /^4 5 1/);
  assert.match(shown({ column: "note" }), /^3 1/);
});

test("an address has the whole view", () => {
  /** @type {View} */
  const view = { text: "a b", show: "free", holder: "ann&co", label: "region=eu", column: "left",
    down: true };
  assert.deepEqual(viewOf(addressOf(view)), view);
  assert.equal(addressOf(ALL), "#table");
  assert.deepEqual(viewOf("#table"), ALL);
  assert.deepEqual(viewOf("#table?holder=ann&label=region%3Deu&show=free"),
    { ...ALL, holder: "ann", label: "region=eu", show: "free" });
  assert.deepEqual(viewOf("#table?show=nothing&sort=-nothing"), { ...ALL, down: true });
  assert.equal(viewOf("#token=a"), null);
  assert.equal(viewOf(""), null);
});

test("names have ranges", () => {
  assert.deepEqual(namesIn(" a, ci-[08-11]x\n b "),
    { names: ["a", "ci-08x", "ci-09x", "ci-10x", "ci-11x", "b"], wrong: null });
  assert.deepEqual(namesIn(""), { names: [], wrong: null });
  for (const [text, key] of [["a b a", "editNameTwice"], ["a/b", "editNameWrong"],
    ["..", "editNameWrong"], ["x-[5-4]", "editNameWrong"], ["[1-999999999]", "editNamesMany"],
    ["a".repeat(64), "editNameWrong"]]) {
    assert.equal(namesIn(text).wrong?.key, key, text);
  }
  assert.equal(namesIn(`[1-${MOST_NAMES}]`).names.length, MOST_NAMES);
  assert.ok(isPoolName("a.b-1") && !isPoolName("A") && !isPoolName("a-") && !isPoolName(""));
});

test("labels are written as they are read", () => {
  assert.deepEqual(labelsIn("region=eu, a/b=, x=1=2"), { region: "eu", "a/b": "", x: "1=2" });
  assert.equal(labelsIn("region=eu size"), "size");
  assert.equal(labelsIn("=eu"), "=eu");
  const text = "region=eu, size=large";
  assert.equal(labelsText(/** @type {Record<string, string>} */ (labelsIn(text))), text);
});
