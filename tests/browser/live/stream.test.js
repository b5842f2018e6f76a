// @ts-check
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Problem } from "../../../crates/dashboard/page/live/api.js";
import { Stream } from "../../../crates/dashboard/page/live/stream.js";
import { until } from "../harness/wait.js";
import { FakeSource, info, told } from "./ground.js";

/** @typedef {import("../../../crates/dashboard/page/live/stream.js").Message} Message */

const TIMES = { beat: 5, patience: 200, batch: 20, retry: 5, retryMost: 20, grace: 40,
  suspicion: 1e6, refused: 150, look: 1e6, slept: 3000, changed: 60 };
const AWAY = new Problem(0, { code: "unreachable" });

/** @type {Message[]} */
let heard;
/** @type {Stream} */
let stream;
/** What GET /api/pool answers; an error is thrown. @type {ReturnType<typeof info> | Error} */
let answer;
let asked = 0;
/** The queue. @type {import("../../../crates/dashboard/page/live/shape.js").Ticket[]} */
let tickets = [];
/** Why the server opens no stream. @type {string | undefined} */
let why;

beforeEach(() => {
  heard = [];
  FakeSource.made = [];
  answer = info(57);
  why = undefined;
});
afterEach(() => stream.stop());

/** @param {Partial<typeof TIMES>} [times] */
function begin(times) {
  const pool = async () => {
    asked += 1;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const queue = async () => tickets;
  const tell = (/** @type {Message} */ message) => void heard.push(message);
  const stamp = async () => info(57);
  const api = { pool, queue, stamp, refusal: async () => why };
  const parts = { pool: "default", api, open: FakeSource.open, times: { ...TIMES, ...times } };
  stream = new Stream(tell, parts);
  stream.start();
}

/** @param {number} number of the connection, from 1 */
async function connected(number) {
  await until(`connection ${number}`, () => FakeSource.made.length === number);
  return FakeSource.latest;
}

const types = () => heard.map(({ type }) => type).filter((type) => type !== "info");
const states = () => heard.flatMap((message) => (message.type === "state" ? message.state : []));
const events = () => heard.flatMap((message) => (
  message.type === "events" ? JSON.parse(message.text) : []));

/** @param {FakeSource} source */
const from = (source) => new URL(source.url, "http://host").searchParams.get("last_event_id");

test("the stream begins where the pool is, so that a list read now leaves no gap", async () => {
  begin();
  const source = await connected(1);
  assert.equal(from(source), "1-57");
  assert.deepEqual(heard.map(({ type }) => type), ["info", "load"]);
  assert.deepEqual([...stream.greeting()].map(({ type }) => type), ["state", "info", "load"]);
  source.open();
  assert.deepEqual(states(), ["live"]);
});

test("one that comes too early is greeted without a call to read the list", () => {
  answer = AWAY;
  begin();
  assert.deepEqual([...stream.greeting()], [{ type: "state", state: "connecting", why: undefined }]);
});

test("what comes along goes together, the next ones later, unknown kinds nowhere", async () => {
  // Long enough that everything arrived at once.
  begin({ batch: 500 });
  const source = await connected(1);
  source.open();
  const asked = performance.now();
  source.say("lease.ended", "1-58-0", told(1, 0));
  source.say("lease.started", "1-58-1", told(0, 1));
  await until("the first", () => events().length > 0);
  assert.ok(performance.now() - asked < 400, "it waits for nothing");
  assert.deepEqual(events(), [["ended", told(1, 0)], ["started", told(0, 1)]]);
  for (let fence = 2; fence < 40; fence += 1) {
    source.say("lease.started", `1-${57 + fence}-0`, told(0, fence));
  }
  source.say("lease.renewed", "1-99-0", told(0, 39));
  source.say("lease.painted", "1-99-1", told(0, 39));
  source.say("lease.ended", "1-99-2", told(0, 39));
  assert.equal(events().length, 2);
  await until("the others", () => events().length > 2);
  assert.equal(events().length, 42);
  assert.deepEqual(events().slice(-2).map(([kind]) => kind), ["renewed", "ended"]);
  assert.equal(heard.filter(({ type }) => type === "events").length, 2);
});

test("after a cut it goes on behind the last event, and a short cut is none", async () => {
  begin({ grace: 10_000 });
  const first = await connected(1);
  first.open();
  first.say("lease.started", "1-58-0", told(0, 1));
  answer = info(58);
  first.fail();
  const second = await connected(2);
  assert.ok(first.closed);
  assert.equal(from(second), "1-58-0");
  second.open();
  assert.deepEqual(states(), ["live"]);
  assert.equal(types().filter((type) => type === "load").length, 1, "nothing is to be read again");
});

test("what is not back soon is lost, and found again", async () => {
  begin({ retry: 200, retryMost: 200 });
  (await connected(1)).open();
  FakeSource.latest.fail();
  await until("lost", () => stream.state === "lost");
  assert.equal(FakeSource.made.length, 1, "by the time, before another attempt");
  (await connected(2)).open();
  assert.deepEqual(states(), ["live", "lost", "live"]);
});

test("a server that is away is asked again and again, with pauses", async () => {
  begin();
  (await connected(1)).open();
  answer = AWAY;
  await until("lost", () => stream.state === "lost");
  assert.ok(FakeSource.made[0].closed, "a server that stands still keeps its connections");
  const before = asked;
  await until("more attempts", () => asked >= before + 4);
  answer = info(60);
  const source = await connected(2);
  assert.equal(from(source), "1-57");
  assert.equal(types().filter((type) => type === "load").length, 2,
    "and the list is read: it may have come back with another database");
  source.open();
  assert.deepEqual(states(), ["live", "lost", "live"]);
});

test("a stream that does not open is given up", async () => {
  begin({ patience: 20 });
  await connected(1);
  await connected(2);
  assert.ok(FakeSource.made[0].closed);
  assert.equal(stream.state, "lost");
});

test("an id that is refused is forgotten, and the list read again", async () => {
  begin();
  const first = await connected(1);
  first.open();
  first.say("lease.started", "1-58-0", told(0, 1));
  first.fail();
  answer = info(99);
  (await connected(2)).fail();
  const third = await connected(3);
  assert.equal(from(third), "1-58-0", "once may be chance");
  third.fail();
  assert.equal(from(await connected(4)), "1-99");
  assert.equal(types().filter((type) => type === "load").length, 3, "it was lost before");
});

test("a server that has no room for one more stream is asked less often", async () => {
  why = "too-many-streams";
  begin();
  (await connected(1)).fail();
  (await connected(2)).fail();
  await until("lost", () => stream.state === "lost" && heard.some((message) => (
    message.type === "state" && message.why === why)));
  const refused = performance.now();
  assert.deepEqual([...stream.greeting()].map(({ type }) => type), ["state", "info", "load"],
    "a tab that comes now reads the list all the same");
  answer = info(99);
  const source = await connected(3);
  assert.ok(performance.now() - refused > 60);
  assert.equal(from(source), "1-99");
  assert.equal(types().filter((type) => type === "load").length, 2);
  source.open();
  assert.deepEqual(heard[heard.length - 1], { type: "state", state: "live", why: undefined });
});

test("resync: what came before is passed on, and then the list is to be read", async () => {
  begin();
  const source = await connected(1);
  source.open();
  source.say("lease.started", "1-58-0", told(0, 1));
  source.say("lease.ended", "1-59-0", told(0, 1));
  source.say("resync", "1-4711", { epoch: 1, version: 4711, reason: "too-slow" });
  assert.deepEqual(types(), ["load", "state", "events", "load"]);
  source.fail();
  answer = info(4711);
  assert.equal(from(await connected(2)), "1-4711");
});

for (const [what, other] of /** @type {const} */ ([
  ["a new epoch", info(90, { epoch: 2 })],
  ["a pool that is younger than its events", info(3)],
])) {
  test(`${what} is another pool: everything restarts`, async () => {
    begin();
    (await connected(1)).open();
    answer = other;
    const second = await connected(2);
    assert.equal(from(second), `${other.epoch}-${other.version}`);
    assert.equal(types().filter((type) => type === "load").length, 2);
    second.open();
    assert.deepEqual(states(), ["live"], "the server was there all the time");
  });

  test(`${what} is noticed after a cut`, async () => {
    begin({ beat: 1e6 });
    (await connected(1)).open();
    answer = other;
    FakeSource.latest.fail();
    assert.equal(from(await connected(2)), `${other.epoch}-${other.version}`);
    assert.equal(types().filter((type) => type === "load").length, 2);
  });
}

test("a stream that is silent while the pool goes on is replaced, but not often", async () => {
  begin({ suspicion: 1e6 });
  (await connected(1)).open();
  const first = asked;
  await until("a sign of life", () => asked > first + 1);
  answer = info(60, { active: 1 });
  const second = await connected(2);
  assert.equal(from(second), "1-60");
  assert.equal(types().filter((type) => type === "load").length, 2,
    "what it held back is read from the list");
  second.open();
  const before = asked;
  await until("more signs of life", () => asked > before + 4);
  assert.equal(FakeSource.made.length, 2);
  assert.deepEqual(states(), ["live"]);
});

test("a stream with all events of the pool is left alone", async () => {
  begin();
  const source = await connected(1);
  source.open();
  for (let version = 58; version < 62; version += 1) {
    source.say("lease.started", `1-${version}-0`, told(0, version));
    answer = info(version);
    const before = asked;
    await until("a sign of life", () => asked > before + 1);
  }
  assert.equal(FakeSource.made.length, 1);
});

test("entries of the journal about other pools do not make a stream suspicious", async () => {
  begin({ suspicion: 1000 });
  (await connected(1)).open();
  for (let version = 60; version < 63; version += 1) {
    answer = info(version);
    const before = asked;
    await until("a sign of life", () => asked > before + 1);
  }
  assert.equal(FakeSource.made.length, 1);
});

test("changes of tokens have the list and the policy read, many of them once", async () => {
  begin({ beat: 1e6, changed: 200 });
  const source = await connected(1);
  source.open();
  answer = info(60);
  const before = asked;
  for (let count = 0; count < 50; count += 1) source.say("token.added", `1-58-${count}`, {});
  await until("the first call", () => types().filter((type) => type === "load").length === 2);
  source.say("pool.changed", "1-59-0", {});
  source.say("token.retired", "1-60-0", {});
  await until("the next call", () => types().filter((type) => type === "load").length === 3);
  assert.equal(asked, before + 2);
  assert.deepEqual(events(), []);
  source.fail();
  assert.equal(from(await connected(2)), "1-60-0");
});

test("a pool that the server does not have is waited for", async () => {
  answer = new Problem(404, { code: "unknown-pool" });
  begin({ refused: 40 });
  await until("it is said", () => stream.state === "lost");
  assert.deepEqual(heard[heard.length - 1], { type: "state", state: "lost", why: "unknown-pool" });
  answer = info(70);
  const source = await connected(1);
  assert.equal(from(source), "1-70");
  source.open();
  answer = info(80);
  source.say("pool.deleted", "1-75-0", { pool: "default" });
  const next = await connected(2);
  assert.equal(from(next), "1-80", "another pool got its name meanwhile");
  assert.ok(source.closed);
  next.open();
  answer = new Problem(404, { code: "unknown-pool" });
  await until("it was deleted", () => stream.state === "lost");
  assert.ok(next.closed);
});

test("a stream of all pools passes on every event with its kind", async () => {
  stream = new Stream((message) => void heard.push(message), { api: { pool: async () => info(1),
    stamp: async () => ({ epoch: 1, version: 57 }), queue: async () => [], refusal: async () => why },
  open: FakeSource.open, times: TIMES });
  stream.start();
  const source = await connected(1);
  assert.equal(source.url, "/api/events?pool=*&last_event_id=1-57");
  source.open();
  source.say("lease.started", "1-58-0", told(0, 1));
  source.say("pool.created", "1-58-1", { pool: "staging" });
  await until("both", () => events().length === 2);
  const created = { pool: "staging" };
  assert.deepEqual(events(),
    [["started", told(0, 1), "1-58-0"], ["pool.created", created, "1-58-1"]]);
  assert.deepEqual(types().slice(0, 2), ["load", "state"], "and has no counts");
});

test("a busy server is no lost one", async () => {
  begin();
  (await connected(1)).open();
  answer = new Problem(503, { code: "busy" });
  const before = asked;
  await until("more questions", () => asked > before + 3);
  assert.equal(stream.state, "live");
  assert.equal(FakeSource.made.length, 1);
});

test("stopped, it is silent and asks nothing, and restarts on start", async () => {
  begin();
  const first = await connected(1);
  first.open();
  first.say("lease.started", "1-58-0", told(0, 1));
  first.say("lease.ended", "1-59-0", told(0, 1));
  stream.stop();
  const before = { asked, heard: heard.length };
  await new Promise((resolve) => setTimeout(resolve, 10 * TIMES.beat));
  assert.deepEqual({ asked, heard: heard.length }, before);
  assert.ok(first.closed);
  answer = info(70);
  stream.start();
  assert.equal(from(await connected(2)), "1-70");
  assert.equal(heard[heard.length - 1].type, "load");
});

test("after the machine slept, the server is asked at once and the stream opened again", async () => {
  const right = Date.now;
  try {
    begin({ beat: 1e6, look: 20, grace: 5000 });
    const first = await connected(1);
    first.open();
    first.say("lease.started", "1-58-0", told(0, 1));
    answer = info(58);
    const before = asked;
    // While it sleeps, only the system's clock goes on.
    Date.now = () => right() + 60_000;
    const second = await connected(2);
    assert.ok(first.closed);
    assert.equal(asked, before + 1);
    assert.equal(from(second), "1-58-0");
    second.open();
    assert.deepEqual(states(), ["live"], "a short cut is none");
  } finally {
    Date.now = right;
  }
});

test("the queue is read while it has tickets", async () => {
  begin();
  (await connected(1)).open();
  const lists = () => heard.flatMap((message) => (message.type === "queue" ? [message.tickets] : []));
  const before = asked;
  await until("more signs of life", () => asked > before + 2);
  assert.deepEqual(lists(), [], "the queue is empty");
  tickets = [{ id: "lease-9", user: "ann", userId: "id", position: 1, since: 0, until: 1,
    tokenName: null, note: null }];
  answer = info(57, { waiting: 1 });
  await until("the queue", () => lists().length > 1);
  assert.deepEqual(lists()[0], tickets);
  assert.deepEqual([...stream.greeting()].map(({ type }) => type), ["state", "info", "queue", "load"]);
  answer = info(57);
  await until("it is empty again", () => lists()[lists().length - 1].length === 0);
  const { length } = lists();
  const then = asked;
  await until("more signs of life", () => asked > then + 2);
  assert.equal(lists().length, length, "it is said once");
});

test("a caller that the server no longer knows has no stream until another tab joins", async () => {
  begin();
  (await connected(1)).open();
  await until("live", () => states().includes("live"));
  answer = new Problem(401, { code: "unauthenticated" });
  FakeSource.latest.fail();
  await until("it is told", () => heard.some((message) => message.type === "state" && message.why === "unauthenticated"));
  const before = asked;
  await new Promise((resolve) => setTimeout(resolve, 5 * TIMES.retryMost));
  assert.equal(asked, before, "it asks nothing more");
  assert.equal(FakeSource.made.length, 1);
  answer = info(60);
  stream.start();
  assert.deepEqual([...stream.greeting()], [{ type: "state", state: "connecting", why: undefined }]);
  (await connected(2)).open();
  await until("live again", () => states().at(-1) === "live");
});

test("a heartbeat that is refused ends the stream", async () => {
  begin();
  (await connected(1)).open();
  answer = new Problem(401, { code: "unauthenticated" });
  await until("lost", () => states().at(-1) === "lost");
  assert.ok(FakeSource.latest.closed);
});
