// @ts-check
// Who the caller is, what it may do, and keys with typing errors.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "../../../crates/dashboard/page/live/api.js";
import { Caller } from "../../../crates/dashboard/page/live/caller.js";
import { Clock } from "../../../crates/dashboard/page/live/clock.js";
import { mistakeIn } from "../../../crates/dashboard/page/live/key_text.js";
import { createRequest } from "../../../crates/dashboard/page/live/request.js";
import { until } from "../harness/wait.js";

/** @typedef {Record<string, any>} Json */

const session = {
  via: "session", rights: "use", key: { id: "0123456789ab", name: "ci" }, pools: ["staging"],
  users: ["ci-*", "ann", "0198c1b2-7a43-7cc0-8f0e-0123456789ab"], expires_at: "2026-01-31T12:00:00Z",
  keys_exist: true,
};

/** A caller whose server answers each request with the next of these; an error is thrown.
 * @param {...(Json | Error)} answers */
function callerOf(...answers) {
  let denied = () => {};
  /** @type {[string, any][]} */
  const asked = [];
  const caller = new Caller({
    async request(path, ask) {
      asked.push([path, ask]);
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      if (answer instanceof Error) throw answer;
      return { status: 200, body: answer, next: undefined, etag: undefined };
    },
    onDenied: (then) => void (denied = then),
  });
  return { caller, asked, deny: () => denied() };
}

test("rights include those before them, and end at users and pools", async () => {
  const { caller } = callerOf(new Problem(0, { code: "unreachable" }), session);
  assert.ok(!caller.may("read"), "nothing before the server has answered");
  await caller.learn();
  assert.deepEqual(["read", "use", "operate", "admin"].map((right) => caller.may(/** @type {any} */ (right))),
    [true, true, false, false]);
  for (const user of ["ci-7", "ci-", "ann", "0198C1B2-7A43-7CC0-8F0E-0123456789AB"]) {
    assert.ok(caller.mayAllocateFor(user) && caller.mayActFor(user), user);
  }
  for (const user of ["", "ci", "CI-7", "ann ", "Ann"]) {
    assert.ok(!caller.mayAllocateFor(user) && !caller.mayActFor(user), user);
  }
  assert.deepEqual([caller.onlyUser, caller.isForAllUsers], [null, false]);
});

test("an operator acts on all leases, and allocates for its users only", async () => {
  const { caller } = callerOf({ ...session, rights: "operate", users: ["ann"] });
  await caller.learn();
  assert.ok(caller.mayActFor("bob") && !caller.mayAllocateFor("bob"));
  assert.equal(caller.onlyUser, "ann");
  const reader = callerOf({ ...session, rights: "read", users: ["*"] }).caller;
  await reader.learn();
  assert.ok(!reader.mayAllocateFor("ann") && !reader.mayActFor("ann"));
});

test("a refused request shows whether the caller is another one now", async () => {
  const gone = { ...session, via: "anonymous", rights: null, key: null, pools: [], users: [] };
  const { caller, asked, deny } = callerOf(session, session, gone);
  let changes = 0;
  caller.addEventListener("changed", () => (changes += 1));
  await caller.learn();
  deny();
  await until("the question", () => asked.length === 2);
  await caller.check();
  assert.equal(changes, 0, "it is the same");
  const release = caller.hold();
  await caller.check();
  assert.equal(changes, 0, "the page shows a secret");
  await release();
  assert.equal(changes, 1);
});

test("a server that knows no caller grants nothing, and an unreachable one changes nothing", async () => {
  const { caller } = callerOf(session, new Problem(0, { code: "unreachable" }),
    new Problem(401, { code: "unauthenticated" }));
  let changes = 0;
  caller.addEventListener("changed", () => (changes += 1));
  await caller.learn();
  await caller.check();
  assert.equal(changes, 0);
  assert.equal((await caller.ask()).rights, null);
});

test("only refusals of other requests than signing in are told", async () => {
  let denied = 0;
  let answer = new Response(null, { status: 204 });
  const { request, onDenied } = createRequest({ base: "", clock: new Clock(), fetch: async () => answer });
  onDenied(() => (denied += 1));
  assert.deepEqual((await request("/api/session?everywhere=false", { method: "DELETE" })).body, null);
  const refuse = () => Response.json({ code: "unauthenticated" }, { status: 401 });
  answer = refuse();
  await assert.rejects(request("/api/session", { method: "POST", body: { key: "x" } }), { status: 401 });
  assert.equal(denied, 0);
  answer = refuse();
  await assert.rejects(request("/api/pools"), { code: "unauthenticated" });
  assert.equal(denied, 1);
});

test("typing errors in a key are found without a request", () => {
  const body = "tm_0123456789ab_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
  const key = `${body}_339b8286`;
  assert.equal(mistakeIn(key), null);
  for (const text of [`${body}_339b8287`, key.replace("B", "b"), key.slice(0, -1), body, "tm_"]) {
    assert.equal(mistakeIn(text), "typo", text);
  }
  for (const text of ["", "hunter2", key.slice(1)]) assert.equal(mistakeIn(text), "form", text);
});
