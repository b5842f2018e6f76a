// @ts-check
// A wait for a token, over cuts, restarts and changes of mind.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "../../../crates/dashboard/page/live/api.js";
import { GivenUp, Waiting } from "../../../crates/dashboard/page/live/waiting.js";
import { until } from "../harness/wait.js";
import { START } from "./ground.js";

/** @typedef {import("../../../crates/dashboard/page/live/shape.js").Ticket} Ticket */
/** @typedef {import("../../../crates/dashboard/page/live/shape.js").Allocation} Allocation */
/** @typedef {{ key: string, hold: number, limit: AbortSignal }} Asked */
/** @typedef {{ ticket?: Ticket, allocation?: Allocation } | Problem | "hold"} Answer */

/** @param {string} id @param {number} position @returns {Ticket} */
const ticket = (id, position) => (
  { id, user: "", userId: "", position, since: START, until: START + 60_000, tokenName: null,
    note: null });

/** @type {any} */
const allocation = { tokenId: "token-1", lease: { id: "lease-1" } };

/**
 * A server that gives these answers, one after the other; what is held ends by hanging up.
 * @param {Answer[]} answers
 * @param {string | Problem} [served] what giving up comes to: a lease, or why it failed
 */
function server(answers, served) {
  const seen = { asked: /** @type {Asked[]} */ ([]), at: /** @type {number[]} */ ([]),
    given: /** @type {string[]} */ ([]), released: /** @type {string[]} */ ([]) };
  const api = {
    allocateOrQueue: async (/** @type {string} */ _user, /** @type {Asked} */ asked) => {
      seen.asked.push(asked);
      seen.at.push(performance.now());
      const answer = answers.shift() ?? new Problem(503, { code: "pool-full" });
      if (answer instanceof Problem) throw answer;
      if (answer !== "hold") return answer;
      await new Promise((resolve) => asked.limit.addEventListener("abort", resolve));
      throw new Problem(0, { code: "unreachable" });
    },
    giveUp: async (/** @type {string} */ id) => {
      seen.given.push(id);
      if (served instanceof Problem) throw served;
      return served;
    },
    releaseLease: async (/** @type {string} */ id) => void seen.released.push(id),
  };
  const waiting = new Waiting("ann", { waitSeconds: 60 }, /** @type {any} */ (api));
  return { seen, waiting };
}

test("the place is asked for by one key until there is a token", async () => {
  const { seen, waiting } = server([{ ticket: ticket("lease-1", 2) }, { ticket: ticket("lease-1", 1) },
    { allocation }]);
  /** @type {(number | undefined)[]} */
  const places = [];
  waiting.addEventListener("ticket", () => places.push(waiting.ticket?.position));
  assert.equal(await waiting.token(), allocation);
  assert.deepEqual(places, [2, 1]);
  assert.equal(new Set(seen.asked.map(({ key }) => key)).size, 1);
  assert.equal(seen.asked[0].hold, 0, "the first answer has the ticket, at once");
  assert.ok(seen.asked[1].hold > 0);
  assert.ok(seen.at[2] - seen.at[1] >= 900, "a server that does not hold is left a pause");
  assert.equal(waiting.lapsed, false);
});

test("cuts, a proxy's errors and a restart cost no place, and are not met by haste", async () => {
  const { seen, waiting } = server([
    { ticket: ticket("lease-1", 1) }, new Problem(0, { code: "unreachable" }),
    new Problem(503, { code: "stopping" }), new Problem(502, {}), { allocation }]);
  assert.equal(await waiting.token(), allocation);
  assert.equal(new Set(seen.asked.map(({ key }) => key)).size, 1);
  const pauses = seen.at.slice(2).map((at, i) => at - seen.at[i + 1]);
  assert.ok(pauses.every((pause) => pause > 200 && pause < 4000), `${pauses}`);
});

test("a ticket that lapsed is told, and what can't succeed ends the wait", async () => {
  const { waiting } = server([{ ticket: ticket("lease-1", 1) }, { ticket: ticket("lease-2", 4) }]);
  await assert.rejects(waiting.token(), { code: "pool-full" });
  assert.equal(waiting.lapsed, true);
  assert.equal(waiting.ticket?.position, 4);
});

test("who gives up leaves no place behind", async () => {
  const { seen, waiting } = server([{ ticket: ticket("lease-1", 1) }, "hold"]);
  const token = waiting.token();
  await until("it is held", () => seen.asked.length === 2);
  waiting.giveUp();
  await assert.rejects(token, GivenUp);
  assert.deepEqual([seen.given, seen.released], [["lease-1"], []]);
});

test("nor a lease that was granted at the same moment", async () => {
  const { seen, waiting } = server([{ ticket: ticket("lease-1", 1) }, "hold"], "lease-1");
  const token = waiting.token();
  await until("it is held", () => seen.asked.length === 2);
  waiting.giveUp();
  await assert.rejects(token, GivenUp);
  assert.deepEqual(seen.released, ["lease-1"]);
});

test("nor what a first request, called off, came to", async () => {
  for (const [answer, given, released] of /** @type {const} */ ([
    [{ allocation }, [], ["lease-1"]],
    [{ ticket: ticket("lease-1", 3) }, ["lease-1"], []],
  ])) {
    const { seen, waiting } = server(["hold", answer]);
    const token = waiting.token();
    waiting.giveUp();
    await assert.rejects(token, GivenUp);
    assert.equal(seen.asked[0].key, seen.asked[1].key);
    assert.deepEqual([seen.given, seen.released], [given, released]);
  }
});

test("what could not be given up is not said to be", async () => {
  const away = new Problem(0, { code: "not-sent" });
  const { waiting } = server([{ ticket: ticket("lease-1", 1) }, "hold"], away);
  const token = waiting.token();
  await until("it has its place", () => waiting.ticket !== null);
  waiting.giveUp();
  await assert.rejects(token, { code: "give-up-lost" });
});
