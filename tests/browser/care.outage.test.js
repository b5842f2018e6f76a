// @ts-check
// The page shows the current state, or says that it is old.

import assert from "node:assert/strict";
import http from "node:http";
import { once } from "node:events";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { Server } from "./harness/server.js";
import { until } from "./harness/wait.js";

const unreachable = [/ERR_/];

/**
 * A proxy that passes the head of a stream on and holds its body back.
 * @param {Server} server
 */
async function startHoarder({ port: behind }) {
  const proxy = http.createServer((request, answer) => {
    const { url = "", method, headers } = request;
    const { host, ...rest } = headers;
    const onward = { port: behind, host: "127.0.0.1", path: url, method, headers: {
      ...rest, host: `127.0.0.1:${behind}` } };
    const passed = http.request(onward, (from) => {
      answer.writeHead(from.statusCode ?? 502, from.headers);
      answer.flushHeaders();
      if (url.startsWith("/api/events")) from.resume();
      else from.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    request.pipe(passed);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (proxy.address());
  return { port, close: () => (proxy.close(), proxy.closeAllConnections()) };
}

describe("truth", { concurrency: 3 }, () => {
  inBrowser("a stream that is held up on the way does not make figures wrong", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const hoarder = await startHoarder(server);
    try {
      const dashboard = await stage.tab(server);
      const { port } = server;
      // Only the page goes through the proxy.
      server.port = hoarder.port;
      await dashboard.page.goto(`${server.url}/`);
      Object.defineProperty(server, "url", { value: server.url });
      server.port = port;
      await dashboard.counts({ active: 0, size: 3 }, 10_000);
      for (const user of ["ann", "bob", "cid"]) await server.allocate(user);
      await dashboard.counts({ active: 3 }, 15_000);
      await server.allocate("dan");
      await dashboard.agrees(25_000);
    } finally {
      hoarder.close();
    }
  }, 70);

  inBrowser("another database at the same address is noticed", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const other = await stage.server("--pool-size=3");
    for (const user of ["ann", "bob"]) await other.allocate(user);
    const dashboard = await stage.dashboard(server);
    dashboard.expect(...unreachable);
    await server.end("SIGKILL");
    await dashboard.state("lost");
    await dashboard.until("the title says so", (prefix) => document.title.startsWith(prefix), "Not live");
    const { port } = other;
    await other.end("SIGKILL");
    other.port = server.port;
    await other.run();
    await dashboard.state("live", 15_000);
    const wanted = (await other.tokens()).map(({ id }) => id);
    const shown = () => dashboard.page.locator("#grid .cell").evaluateAll((cells) =>
      cells.map((cell) => cell.getAttribute("data-token-id")));
    await until("the other tokens", async () => `${await shown()}` === `${wanted}`);
    await dashboard.counts({ active: 2 });
    await dashboard.until("its title", (begin) => document.title.startsWith(begin), "2/3");
    other.port = port;
  }, 60);

  inBrowser("what was not read yet is not shown as a figure", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const { token_id: id } = await server.allocate("ann");
    const dashboard = await stage.tab(server);
    dashboard.expect(/500/, /answer: 500/);
    let broken = true;
    await dashboard.page.route("**/api/pools/default/tokens", (route) => (broken
      ? route.fulfill({ status: 500, json: { code: "broken", detail: "the reason" } })
      : route.continue()));
    await dashboard.page.goto(`${server.url}/#token=${id}`);
    await dashboard.state("lost");
    await dashboard.drawer(id);
    await dashboard.reads("#count-active", /^–$/);
    await dashboard.reads("#count-size", /^3$/);
    await dashboard.reads("#banner", /the reason/);
    await dashboard.reads("#drawer-holder", /…/);
    broken = false;
    await dashboard.state("live");
    await dashboard.reads("#drawer-holder", /ann/);
    await dashboard.counts({ active: 1, available: 2 });

    broken = true;
    await server.end("SIGKILL");
    dashboard.expect(...unreachable);
    await dashboard.state("lost");
    const figures = await dashboard.text("#banner-text");
    await server.run();
    await dashboard.reads("#banner", /the reason/, 15_000);
    const time = /\d+:\d\d:\d\d/;
    assert.equal(time.exec(await dashboard.text("#banner-text"))?.[0], time.exec(figures)?.[0],
      "the figures are as old as before");
  }, 60);

  inBrowser("a server with no room for one more stream says so", async (stage) => {
    const server = await stage.server("--pool-size=3", "--max-event-streams=1");
    await stage.dashboard(server);
    await server.allocate("ann");
    const late = await stage.tab(server);
    late.expect(/503/);
    await late.page.goto(`${server.url}/`);
    await late.state("lost");
    await late.counts({ active: 1, size: 3 });
    const title = await late.text("#banner-title");
    assert.ok(!/connection/.test(title), title);
    const asked = server.taken("/api/pools/default/tokens");
    await late.page.waitForTimeout(4000);
    assert.ok(server.taken("/api/pools/default/tokens") - asked <= 1, "it is left alone");
  });

  inBrowser("a pool that was used is not greeted as a new one", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const fresh = await stage.dashboard(server);
    await fresh.page.locator("#empty").waitFor();
    const nothing = await fresh.text("#events-none");
    const { lease_id: lease } = await server.allocate("ann");
    await fresh.page.locator("#empty").waitFor({ state: "hidden" });
    await server.release(lease);
    const later = await stage.tab(server);
    // Nothing in the last ten minutes.
    await later.page.route(/\/api\/leases\?.*(from|at)=/, (route) => (
      route.fulfill({ json: { leases: [], next: null } })));
    await later.load();
    await later.page.locator("#events-none").waitFor();
    assert.notEqual(await later.text("#events-none"), nothing);
    assert.ok(!(await later.page.locator("#empty").isVisible()));
  });
});
