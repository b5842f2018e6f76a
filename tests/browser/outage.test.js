// @ts-check
// What the page says while the server is away, and how it gets right again.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { inBrowser } from "./harness/stage.js";
import { until } from "./harness/wait.js";

// What a browser writes to the console when a request fails, which no page can prevent.
const unreachable = [
  /ERR_CONNECTION/,
  /ERR_EMPTY_RESPONSE/,
  /ERR_ABORTED/,
  /ERR_INCOMPLETE_CHUNKED/,
];
// A server that was stopped keeps its connections: it is noticed by its silence, within eight
// seconds, and a slow machine needs a moment more.
const noticedMs = 12_000;
const backMs = 12_000;

describe("outages", { concurrency: 4 }, () => {
  inBrowser("a server that was killed and started again", async (stage) => {
    const server = await stage.server("--pool-size=5");
    const ann = await server.allocate("ann");
    await server.allocate("bob");
    const dashboard = await stage.dashboard(server);
    await dashboard.agrees();
    dashboard.expect(...unreachable);

    await server.end("SIGKILL");
    await dashboard.state("lost", noticedMs);
    await dashboard.reads("#connection", /\p{Letter}/u);
    await dashboard.reads("#announcer", /\p{Letter}/u);
    await dashboard.allocate("late");
    await dashboard.reads("#allocate-error", /\p{Letter}/u, 12_000);

    await server.elsewhere(async () => {
      await server.release(ann.lease_id);
      await server.ask("DELETE", "/api/tokens/clear-active");
      await server.allocate("cid");
    });
    await server.run();
    await dashboard.live(backMs);
    await dashboard.agrees();
    await until("the feed lacks nothing", async () => {
      // What ended within one millisecond may be told in either order.
      const told = (await dashboard.feed()).map(({ what }) => what).sort();
      return `${told}` === "cleared,released,started,started,started";
    });

    const { token_id: id } = await server.allocate("dan");
    await dashboard.shows(id, "dan");
    await dashboard.allocate("eva");
    await dashboard.counts({ active: 3 });
    await dashboard.agrees();
  });

  inBrowser("a server that was away for longer than its journal reaches", async (stage) => {
    const server = await stage.server("--pool-size=5", "--journal-max-entries=2");
    const dashboard = await stage.dashboard(server);
    dashboard.expect(...unreachable);
    await server.end("SIGKILL");
    await dashboard.state("lost", noticedMs);
    await server.elsewhere(async () => {
      for (const user of "abcdefghijklmnopqrst") await server.allocate(user);
    });
    await server.run();
    await dashboard.live(backMs);
    await dashboard.agrees();
    await dashboard.counts({ active: 5 });
  });

  inBrowser("a server that is stopped for a while, and goes on", async (stage) => {
    const server = await stage.server("--pool-size=3");
    await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    await dashboard.agrees();
    dashboard.expect(...unreachable);
    server.signal("SIGSTOP");
    const stopped = performance.now();
    await dashboard.state("lost", noticedMs);
    console.log(`noticed after ${Math.round(performance.now() - stopped)} ms`);
    server.signal("SIGCONT");
    await dashboard.live(backMs);
    const { token_id: id } = await server.allocate("bob");
    await dashboard.shows(id, "bob");
    await dashboard.agrees();
  });

  inBrowser("a server that comes back with another page", async (stage) => {
    const server = await stage.server("--pool-size=3");
    const dashboard = await stage.dashboard(server);
    dashboard.expect(...unreachable);
    const offer = dashboard.page.locator("#upgrade");
    await server.end("SIGKILL");
    await dashboard.state("lost", noticedMs);
    await server.run();
    const asked = dashboard.page.waitForRequest((request) => request.method() === "HEAD", { timeout: backMs });
    await dashboard.live(backMs);
    await (await asked).response();
    assert.equal(await offer.isVisible(), false, "the page is the same");

    await dashboard.page.route(`${server.url}/`, (route) => {
      if (route.request().method() !== "HEAD") return route.continue();
      return route.fulfill({ headers: { etag: 'W/"another"' } });
    });
    await server.end("SIGKILL");
    await dashboard.state("lost", noticedMs);
    await server.run();
    await dashboard.live(backMs);
    await until("it is offered", () => offer.isVisible());
    await dashboard.reads("#announcer", /new version/);
    const loaded = dashboard.page.waitForEvent("load");
    await dashboard.page.locator("#upgrade-load").click();
    await loaded;
    await dashboard.live(backMs);
    assert.equal(await offer.isVisible(), false);
  });

  inBrowser("a deadline that passes while the server is away", async (stage) => {
    const server = await stage.server("--pool-size=3", "--lease=8s");
    const { token_id: id, expires_at: expiry } = await server.allocate("ann");
    const dashboard = await stage.dashboard(server);
    await dashboard.shows(id, "ann");
    dashboard.expect(...unreachable);
    await server.end("SIGKILL");
    await dashboard.state("lost", noticedMs);
    await until("the deadline has passed", () => Date.now() > Date.parse(expiry), 10_000);
    // It may have been renewed, for all the page knows.
    await dashboard.shows(id, "ann");
    await server.run();
    await dashboard.live(backMs);
    await dashboard.agrees();
    await dashboard.told("expired");
  });
});
