// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock } from "../../../crates/dashboard/page/live/clock.js";
import { Pools } from "../../../crates/dashboard/page/live/pools.js";
import { until } from "../harness/wait.js";
import { told } from "./ground.js";

/** @typedef {import("../../../crates/dashboard/page/live/stream.js").Message} Message */

/** @param {string} name */
const row = (name) => ({ name, description: "", size: 3, active: 0, available: 3, tainted: 0,
  retiring: 0, waiting: 0, next_deadline: null, policy: { when_full: "wait" } });

/** A list of pools whose server and stream a test holds in its hand. @param {string[][]} pages */
function listOf(pages) {
  const server = {
    pages,
    version: 5,
    epoch: 1,
    failing: false,
    /** @type {string[]} */
    asked: [],
    async request(/** @type {string} */ path) {
      server.asked.push(path);
      if (server.failing) throw new Error("no answer");
      const after = new URLSearchParams(path.split("?")[1]).get("after") ?? "";
      const names = server.pages.find(([first]) => first > after) ?? [];
      const isLast = names === server.pages[server.pages.length - 1];
      const { epoch, version } = server;
      const body = { pools: names.map(row), next: isLast ? null : "/next", epoch, version };
      return { status: 200, body, next: undefined, etag: undefined };
    },
  };
  /** @type {(message: Message) => void} */
  let tell = () => {};
  const openLine = (/** @type {typeof tell} */ to) => {
    tell = to;
    return { start() {}, stop() {} };
  };
  const pools = new Pools({ api: server, clock: new Clock(), isVisible: () => true, openLine });
  const timer = pools.start();
  clearInterval(timer);
  return { server, pools, say: (/** @type {Message} */ message) => tell(message) };
}

/** @param {number} version @param {string} kind @param {any} data @returns {Message} */
const event = (version, kind, data) =>
  ({ type: "events", text: JSON.stringify([[kind, data, `1-${version}-0`]]) });

test("the list is read page by page, and is live with the stream", async () => {
  const { server, pools, say } = listOf([["a", "b"], ["c"]]);
  say({ type: "load" });
  say({ type: "state", state: "live" });
  assert.equal(pools.state, "connecting");
  await until("the list is live", () => pools.state === "live");
  assert.deepEqual([...pools.list.rows.keys()], ["a", "b", "c"]);
  assert.deepEqual(server.asked, ["/api/pools?limit=1000", "/api/pools?limit=1000&after=b"]);
  say(event(6, "started", { ...told(0, 1), pool: "b" }));
  assert.equal(pools.list.rows.get("b")?.active, 1);
  pools.look();
  assert.equal(server.asked.length, 2, "not read again at once");
});

test("a list that can't be read is lost until it can, and another database replaces it", async () => {
  const { server, pools, say } = listOf([["a"]]);
  say({ type: "state", state: "live" });
  server.failing = true;
  say({ type: "load" });
  await until("the list is lost", () => pools.state === "lost");
  server.failing = false;
  await until("the list is live", () => pools.state === "live");
  say({ type: "state", state: "lost" });
  assert.equal(pools.state, "lost");
  Object.assign(server, { pages: [["z"]], epoch: 2, version: 1 });
  say({ type: "load" });
  say({ type: "state", state: "live" });
  assert.equal(pools.state, "lost", "the list is that of before");
  await until("the list is live", () => pools.state === "live");
  assert.deepEqual([...pools.list.rows.keys()], ["z"]);
});
