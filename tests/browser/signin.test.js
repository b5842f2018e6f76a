// @ts-check
// Signing in and out: the page never keeps a key, and stops when its session ends.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { describe } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { violates } from "./harness/axe.js";
import { signedIn, withKeys } from "./harness/keys.js";
import { inBrowser } from "./harness/stage.js";

/** @typedef {import("./harness/dashboard.js").Dashboard} Dashboard */
/** @typedef {import("./harness/server.js").Server} Server */
/** @typedef {import("./harness/stage.js").Stage} Stage */

const widths = [320, 360, 768, 1280];

/** Everything that the page could have kept. @param {Dashboard} dashboard */
const kept = ({ page }) => page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage },
  location.href, document.cookie, history.state, document.documentElement.outerHTML,
  [...document.querySelectorAll("input")].map(({ value }) => value)]));

describe("signing in", { concurrency: 3 }, () => {
  inBrowser("a key becomes a session, and stays nowhere on the page", async (stage) => {
    const { server, admin } = await withKeys(stage);
    const context = await stage.context();
    const dashboard = await stage.tab(server, context);
    /** @type {string[]} */
    const asked = [];
    dashboard.page.on("request", (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
    await dashboard.loadSignedOut("/");
    assert.deepEqual(asked.filter((request) => request.includes("/api/")), ["GET /api/session"]);
    const field = dashboard.page.locator("#sign-in-key");
    assert.equal(await field.getAttribute("type"), "password");
    assert.equal(await field.getAttribute("autocomplete"), "current-password");
    assert.equal(await dashboard.focus(), "#sign-in-key");
    await dashboard.reads(".sign-in-help", /token-manager dashboard[^]*token-manager keys create/);

    await dashboard.signIn(admin);
    assert.ok(!(await kept(dashboard)).includes(admin.split("_")[2]), "the secret is nowhere");
    assert.ok(!asked.join().includes("tm_"));
    await dashboard.reads("#account-name", /^ops$/);
    const cookies = await context.cookies();
    assert.deepEqual(cookies.map(({ name, httpOnly, sameSite, secure, path }) =>
      ({ name, httpOnly, sameSite, secure, path })),
    [{ name: "token-manager", httpOnly: true, sameSite: "Strict", secure: false, path: "/" }]);
    assert.ok(!admin.includes(cookies[0].value) && !cookies[0].value.includes("tm_"));
    assert.ok(Math.abs(cookies[0].expires - Date.now() / 1000 - 12 * 3600) < 120);
    assert.equal(await dashboard.page.evaluate(() => document.cookie), "");
    await dashboard.allocate("ann");
    await dashboard.counts({ active: 1 });
    await dashboard.page.reload();
    await dashboard.live();
    await dashboard.reads("#account-name", /^ops$/);
  });

  inBrowser("wrong keys are refused in words", async (stage) => {
    const { server, admin } = await withKeys(stage);
    const revoked = await server.createKey("gone", "use");
    await server.ask("DELETE", "/api/keys/gone");
    const dashboard = await stage.tab(server);
    dashboard.expect(/401/);
    await dashboard.loadSignedOut();
    const { page } = dashboard;
    const attempt = async (/** @type {string} */ key) => {
      await page.locator("#sign-in-key").fill(key);
      await page.locator("#sign-in-submit").click();
    };
    const requests = () => server.taken("/api/session");
    const before = requests();
    for (const [key, words] of /** @type {const} */ ([
      ["", /Enter an API key/], ["hunter2", /begin with tm_/], [admin.slice(0, -3), /typo/],
      [admin.replace(/.(?=.{20}$)/, (digit) => (digit === "x" ? "y" : "x")), /typo/],
    ])) {
      await attempt(key);
      await dashboard.reads("#sign-in-error", words);
      assert.equal(await dashboard.focus(), "#sign-in-key");
    }
    assert.equal(requests(), before, "typing errors are found without a request");
    await attempt(revoked);
    await dashboard.reads("#sign-in-error", /does not accept this key/);
    assert.equal(await page.locator("#sign-in-key").inputValue(), "");
    await dashboard.signIn(` ${admin} `);
  });

  inBrowser("a code in the address signs in once, and leaves the address at once", async (stage) => {
    const { server } = await withKeys(stage);
    const { code } = await server.ask("POST", "/api/session/code");
    const dashboard = await stage.tab(server);
    /** @type {string[]} */
    const addresses = [];
    await dashboard.page.exposeFunction("seen", (/** @type {string} */ address) => addresses.push(address));
    await dashboard.page.addInitScript(() => addEventListener("DOMContentLoaded",
      () => /** @type {any} */ (window).seen(location.href)));
    await dashboard.page.goto(`${server.url}/#code=${code}`);
    await dashboard.page.locator("#account[data-via=session]").waitFor();
    await dashboard.live();
    assert.ok(addresses.length > 0 && !addresses.join().includes(code), `${addresses}`);
    assert.ok(!(await kept(dashboard)).includes(code));
    await dashboard.page.goBack();
    assert.ok(!dashboard.page.url().includes(code), "nor is it in the browser's history");

    const other = await stage.tab(server);
    other.expect(/401/);
    await other.page.goto(`${server.url}/#code=${code}`);
    await other.asksForKey();
    await other.reads("#sign-in-error", /used already/);
  });

  inBrowser("signing out ends this browser's session, in all of its tabs", async (stage) => {
    const { server, admin } = await withKeys(stage);
    const context = await stage.context();
    const one = await signedIn(stage, server, admin, context);
    const two = await stage.tab(server, context);
    await two.load();
    const elsewhere = await signedIn(stage, server, admin);
    for (const dashboard of [one, two, elsewhere]) dashboard.expect(/401/);
    await one.account("sign-out");
    await one.asksForKey();
    await one.reads("#sign-in-why", /You are signed out/);
    await two.asksForKey();
    await server.allocate("ann");
    await elsewhere.counts({ active: 1 });
    assert.deepEqual(await context.cookies(), []);

    await one.signIn(admin);
    await two.live();
    await one.account("sign-out-everywhere");
    for (const dashboard of [one, two, elsewhere]) await dashboard.asksForKey();
    await elsewhere.reads("#sign-in-why", /session has ended/);
    const { keys: [key] } = await server.ask("GET", "/api/keys");
    assert.equal(key.sessions, 0);
  });

  inBrowser("a revoked key ends a live page, and its requests", async (stage) => {
    const { server } = await withKeys(stage);
    const dashboard = await signedIn(stage, server, await server.createKey("ci", "operate"));
    dashboard.expect(/401/, /ERR_/);
    const revokedAt = performance.now();
    await server.ask("DELETE", "/api/keys/ci");
    await dashboard.asksForKey();
    assert.ok(performance.now() - revokedAt < 8000);
    await dashboard.reads("#sign-in-why", /revoked/);
    assert.equal(await dashboard.page.locator("#grid .cell").count(), 0, "no data is left");
    await pause(500);
    const lines = server.log.length;
    await pause(4000);
    assert.equal(server.log.length, lines, "nothing more is asked");
  });

  inBrowser("a wait for a token ends with its key", async (stage) => {
    const { server } = await withKeys(stage, "--pool-size=1", "--when-full=wait");
    await server.allocate("ann");
    const dashboard = await signedIn(stage, server, await server.createKey("ci", "use", { users: ["bob"] }));
    dashboard.expect(/401/, /ERR_/);
    await dashboard.page.locator("#allocate-submit").click();
    await dashboard.reads("#allocate-wait-text", /1/);
    await server.ask("DELETE", "/api/keys/ci");
    await dashboard.asksForKey();
  });

  inBrowser("callers without a key may be readers, who can sign in for more", async (stage) => {
    const { server, admin } = await withKeys(stage);
    await server.again("--anonymous=read");
    const dashboard = await stage.dashboard(server);
    const { page } = dashboard;
    await dashboard.reads("#account-name", /^Sign in$/);
    assert.equal(await page.locator("#allocate-panel").isVisible(), false);
    await page.locator("#account").click();
    await dashboard.asksForKey();
    await page.locator("#sign-in-cancel").click();
    await page.locator("main").waitFor();
    await page.locator("#account").click();
    await dashboard.signIn(admin);
    await page.locator("#allocate-panel").waitFor();
    await dashboard.account("sign-out");
    await page.locator("#account[data-via=anonymous]").waitFor();
    await dashboard.reads("#notice", /You are signed out/);
    await dashboard.live();
  });

  inBrowser("without keys on this machine, the page asks for none", async (stage) => {
    const server = await stage.server("--pool-size=2");
    const dashboard = await stage.dashboard(server);
    for (const id of ["account", "sign-in"]) {
      assert.equal(await dashboard.page.locator(`#${id}`).isVisible(), false, id);
    }
    for (const id of ["allocate-panel", "clear", "pool-acts", "foot-keys", "foot-metrics"]) {
      assert.equal(await dashboard.page.locator(`#${id}`).isVisible(), true, id);
    }
  });

  inBrowser("the form is for everyone: rules, widths, languages", async (stage) => {
    const { server } = await withKeys(stage);
    for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
      for (const locale of ["en-US", "pt-BR"]) {
        const dashboard = await stage.tab(server, await stage.context({ colorScheme, locale }));
        await dashboard.loadSignedOut();
        await dashboard.page.locator("#sign-in-submit").click();
        await dashboard.reads("#sign-in-error", locale === "pt-BR" ? /Digite/ : /Enter/);
        for (const width of widths) {
          await dashboard.page.setViewportSize({ width, height: 700 });
          assert.equal(await dashboard.overflow(), null, `${width} wide, ${locale}`);
        }
        await violates(dashboard, `the form, ${colorScheme}`);
      }
    }
  });
});

describe("other sites", { concurrency: 3 }, () => {
  // Another port of the same host is another origin on the same site, to which browsers send the cookie.
  for (const [name, host] of [["same site", "127.0.0.1"], ["other site", "localhost"]]) {
    inBrowser(`a page of another origin can't use the session: ${name}`, async (stage) => {
      const { server, admin } = await withKeys(stage);
      const context = await stage.context();
      const dashboard = await signedIn(stage, server, admin, context);
      await server.allocate("ann");
      await dashboard.counts({ active: 1 });
      const url = await startSite(stage, server);
      const page = await context.newPage();
      await page.goto(url.replace("127.0.0.1", host));
      const answers = await page.evaluate(attack, server.url);
      assert.deepEqual(answers.filter((answer) => /^[12]/.test(answer)), [], "no answer is read");
      for (const form of ["clear", "key", "session"]) {
        await page.goto(url.replace("127.0.0.1", host));
        const answered = page.waitForResponse((answer) => answer.url().startsWith(`${server.url}/api/`));
        await page.locator(`#${form}`).click();
        assert.ok([401, 403].includes((await answered).status()), form);
      }
      const { active } = await server.pool();
      const { keys } = await server.ask("GET", "/api/keys");
      assert.deepEqual([active, keys.length, keys[0].sessions], [1, 1, 1], "nothing was changed");
      await server.allocate("bob");
      await dashboard.counts({ active: 2 });
    });
  }
});

/** A site with forms to a server. @param {Stage} stage @param {Server} server @returns {Promise<string>} */
async function startSite(stage, { url }) {
  const form = (/** @type {string} */ id, /** @type {string} */ path, type = "text/plain") =>
    `<form method="post" action="${url}${path}" enctype="${type}"><input name='{"a":"' value='"}'>`
    + `<button id="${id}">x</button></form>`;
  const body = form("clear", "/api/pools/default/clear") + form("key", "/api/keys")
    + form("session", "/api/session", "application/x-www-form-urlencoded");
  const site = http.createServer((_, answer) => {
    answer.writeHead(200, { "content-type": "text/html" }).end(body);
  });
  site.listen(0);
  await once(site, "listening");
  stage.test.after(() => void site.close());
  const { port } = /** @type {import("node:net").AddressInfo} */ (site.address());
  return `http://127.0.0.1:${port}/`;
}

/** What a page could try. It runs in the page. @param {string} url */
async function attack(url) {
  const json = { "content-type": "application/json" };
  const plain = { "content-type": "text/plain" };
  /** @type {[string, RequestInit][]} */
  const requests = [
    ["/api/pools", {}],
    ["/api/session", {}],
    ["/api/events?pool=*", {}],
    ["/api/pools/default/clear", { method: "POST" }],
    ["/api/pools/default/clear", { method: "POST", headers: plain, body: "{}" }],
    ["/api/pools/default/allocate", { method: "POST", headers: json, body: '{"user":"eve"}' }],
    ["/api/session", { method: "DELETE" }],
    ["/api/keys/ops", { method: "DELETE" }],
    ["/api/keys", { method: "POST", headers: json, body: '{"name":"eve","rights":"admin","pools":["*"],"users":["*"]}' }],
  ];
  const answers = [];
  for (const [path, request] of requests) {
    for (const mode of /** @type {const} */ (["cors", "no-cors"])) {
      const answer = await fetch(url + path, { ...request, mode, credentials: "include" }).catch(() => null);
      answers.push(`${answer ? answer.status : "none"} ${mode} ${request.method ?? "GET"} ${path}`);
    }
  }
  return answers;
}
