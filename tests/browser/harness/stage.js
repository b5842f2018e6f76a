// @ts-check
// Servers, browsers and pages of a test, and the rule that no page may report an unexpected error.

import assert from "node:assert/strict";
import { after, it } from "node:test";
import { startBrowser } from "./chromium.js";
import { Dashboard } from "./dashboard.js";
import { Server } from "./server.js";

/** @typedef {import("playwright-core").BrowserContext} Context */
/** @typedef {import("playwright-core").BrowserContextOptions} Options */

/**
 * One browser for the tests of a file; each page has its own context.
 * @type {ReturnType<typeof startBrowser> | null}
 */
let shared = null;

after(async () => {
  if (shared) await (await shared).browser.close();
});

export class Stage {
  /** @type {Dashboard[]} */
  #dashboards = [];
  /** @type {{ close(): Promise<void> }[]} */
  #open = [];
  /** @type {string[][]} */
  #asked = [];

  /** @param {import("node:test").TestContext} test */
  constructor(test) {
    this.test = test;
  }

  /** @param {...string} settings as "--pool-size=2" */
  server(...settings) {
    return Server.start(this.test, ...settings);
  }

  /**
   * Another context in the file's browser: as if it were another person's.
   * @param {Options} [options]
   */
  async context(options = {}) {
    shared ??= startBrowser();
    const { browser, asked } = await shared;
    return this.#context(browser, asked, options);
  }

  /** A context in a browser process of its own. @param {Options} [options] */
  async otherProcess(options = {}) {
    const { browser, asked } = await startBrowser();
    this.#open.push(browser);
    return this.#context(browser, asked, options);
  }

  /**
   * @param {import("playwright-core").Browser} browser
   * @param {string[]} asked
   * @param {Options} options
   */
  async #context(browser, asked, options) {
    const usual = { locale: "en-US", viewport: { width: 1280, height: 800 } };
    const context = await browser.newContext({ ...usual, ...options });
    context.setDefaultTimeout(20_000);
    this.#open.unshift(context);
    this.#asked.push(asked);
    return context;
  }

  /**
   * The dashboard in a tab of its own, not loaded yet.
   * @param {Server} server
   * @param {Context} [context]
   */
  async tab(server, context) {
    const page = await (context ?? (await this.context())).newPage();
    const dashboard = new Dashboard(page, server);
    this.#dashboards.push(dashboard);
    return dashboard;
  }

  /**
   * The dashboard, loaded.
   * @param {Server} server
   * @param {Options & { hash?: string, pool?: string, me?: string }} [options] `me` allocated there before;
   *   `pool` is that of the address
   */
  async dashboard(server, { hash, pool, me, ...options } = {}) {
    const context = await this.context(options);
    if (me) await context.addInitScript((name) => localStorage.setItem("token-manager.user", name), me);
    const dashboard = await this.tab(server, context);
    await dashboard.load(hash, pool);
    return dashboard;
  }

  check() {
    assert.deepEqual(
      this.#dashboards.flatMap((one) => one.unexpected()),
      [],
    );
    assert.deepEqual(this.#asked.flat(), [], "nothing but the server is asked");
  }

  async close() {
    for (const one of this.#open) await one.close();
  }
}

/**
 * A test with a stage. Tests of a file may run at the same time: they wait more than they work and
 * share only a browser.
 * @param {string} name
 * @param {(stage: Stage) => Promise<void>} run
 * @param {number} [seconds]
 */
export function inBrowser(name, run, seconds = 90) {
  it(name, { timeout: seconds * 1000 }, async (context) => {
    const stage = new Stage(context);
    try {
      await run(stage);
      stage.check();
    } finally {
      await stage.close();
    }
  });
}
