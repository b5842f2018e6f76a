// @ts-check
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Hub } from "../../../crates/dashboard/page/live/hub.js";
import { until } from "../harness/wait.js";
import { FakeSource, info, told } from "./ground.js";

/** @typedef {import("../../../crates/dashboard/page/live/stream.js").Message} Message */

beforeEach(() => {
  FakeSource.made = [];
});

/**
 * @param {import("node:test").TestContext} t
 * @param {{ patience?: number, forget?: number }} [limits]
 */
function hubOf(t, limits = {}) {
  const api = { pool: async () => info(57), stamp: async () => info(57), queue: async () => [], refusal: async () => undefined };
  const hub = new Hub({ pool: "default", api, open: FakeSource.open, times: { batch: 0, beat: 1e6 }, ...limits });
  return {
    hub,
    /** A tab, which takes what it is sent unless it stands still. */
    tab() {
      const { port1, port2 } = new MessageChannel();
      const tab = { heard: /** @type {Message[]} */ ([]), still: false, port: port1 };
      port1.onmessage = ({ data }) => {
        tab.heard.push(data);
        if (!tab.still) port1.postMessage("got");
      };
      hub.meet(port2);
      port1.postMessage("join");
      t.after(() => port1.close());
      return tab;
    },
  };
}

/** @param {{ heard: Message[] }} tab */
const loads = (tab) => tab.heard.filter(({ type }) => type === "load").length;
/** @param {{ heard: Message[] }} tab */
const events = (tab) => tab.heard.filter(({ type }) => type === "events").length;
const say = () => FakeSource.latest.say("lease.started", "1-58-0", told(0, 1));

test("many tabs, one stream; the last one to go ends it", async (t) => {
  const { hub, tab } = hubOf(t);
  const one = tab();
  await until("the stream", () => FakeSource.made.length === 1);
  FakeSource.latest.open();
  const other = tab();
  await until("both are greeted", () => loads(one) === 1 && loads(other) === 1);
  assert.deepEqual(other.heard.map(({ type }) => type), ["state", "info", "load"]);
  say();
  await until("both hear it", () => events(one) === 1 && events(other) === 1);
  one.port.postMessage("bye");
  await until("one is gone", () => hub.size === 1);
  assert.equal(FakeSource.latest.closed, false);
  other.port.postMessage("bye");
  await until("both are gone", () => FakeSource.latest.closed);
  one.port.postMessage("join");
  await until("a new stream", () => FakeSource.made.length === 2);
  await until("read the list again", () => loads(one) === 2);
  one.port.postMessage("bye");
});

test("a stalled tab costs no more, and restarts when it continues", async (t) => {
  const { tab } = hubOf(t, { patience: 10 });
  const slow = tab();
  slow.still = true;
  const quick = tab();
  await until("the stream", () => FakeSource.made.length === 1);
  for (let count = 1; count <= 30; count += 1) {
    say();
    await until("the quick one hears all", () => events(quick) === count);
  }
  assert.equal(slow.heard.length, 10);
  slow.still = false;
  for (let owed = slow.heard.length; owed > 0; owed -= 1) slow.port.postMessage("got");
  await until("it is greeted again", () => loads(slow) === 2);
  say();
  await until("and hears what comes", () => events(slow) > 0 && events(quick) === 31);
  slow.port.postMessage("bye");
  quick.port.postMessage("bye");
});

test("a tab that is gone without a word is forgotten, and welcome if it was not", async (t) => {
  const { hub, tab } = hubOf(t, { patience: 5, forget: 0 });
  const gone = tab();
  gone.still = true;
  const quick = tab();
  await until("the stream", () => FakeSource.made.length === 1);
  await until("it is forgotten", () => {
    say();
    return hub.size === 1;
  });
  gone.port.postMessage("got");
  await until("it is greeted again", () => loads(gone) === 2);
  assert.equal(hub.size, 2);
  gone.port.postMessage("bye");
  quick.port.postMessage("bye");
});
