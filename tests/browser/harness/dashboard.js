// @ts-check
// The dashboard as its user sees it, by ids and data attributes: its texts are translated, so tests don't
// depend on them.

import { until } from "./wait.js";

/** @typedef {import("playwright-core").Page} Page */

export class Dashboard {
  /** The pool that it shows. */
  pool = "default";
  /** Errors of the page that the test did not expect. @type {string[]} */
  complaints = [];
  /** @type {RegExp[]} */
  #expected = [];

  /**
   * @param {Page} page
   * @param {import("./server.js").Server} server
   */
  constructor(page, server) {
    this.page = page;
    this.server = server;
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      this.#complain(`console: ${message.text()} (${message.location().url})`);
    });
    page.on("pageerror", (error) => this.#complain(`uncaught: ${error.stack}`));
    page.on("crash", () => this.#complain("the page crashed"));
    page.on("requestfailed", (request) => {
      const { errorText = "" } = request.failure() ?? {};
      // Leaving or reloading a page aborts its requests.
      if (errorText !== "net::ERR_ABORTED") this.#complain(`failed: ${request.url()} ${errorText}`);
    });
    page.on("response", (answer) => {
      if (answer.status() >= 400) this.#complain(`answer: ${answer.status()} ${answer.url()}`);
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${server.url}/`)) this.#complain(`foreign: ${request.url()}`);
    });
  }

  /** @param {string} complaint */
  #complain(complaint) {
    this.complaints.push(complaint);
  }

  /** Errors that the test causes on purpose. @param {...RegExp} patterns */
  expect(...patterns) {
    this.#expected.push(...patterns);
  }

  /** Unexpected errors. */
  unexpected() {
    const expected = (/** @type {string} */ text) => this.#expected.some((one) => one.test(text));
    return this.complaints.filter((text) => !expected(text));
  }

  /**
   * Opens it and waits until it shows the pool.
   * @param {string} [hash]
   * @param {string} [pool] that of the address; without one, the address is `/`
   */
  async load(hash = "", pool) {
    this.pool = pool ?? "default";
    const path = pool === undefined ? "/" : `/pools/${pool}`;
    await this.page.goto(`${this.server.url}${path}${hash}`, { timeout: 30_000 });
    await this.live();
  }

  /**
   * Opens it and waits until it asks for a key.
   * @param {string} [path]
   */
  async loadSignedOut(path = "/") {
    await this.page.goto(`${this.server.url}${path}`, { timeout: 30_000 });
    await this.asksForKey();
  }

  async asksForKey(milliseconds = 20_000) {
    await this.page.locator("#sign-in-key").waitFor({ timeout: milliseconds });
    if (await this.page.locator("main").isVisible()) throw new Error("the form is not alone");
  }

  /** Signs in with the form. @param {string} key */
  async signIn(key) {
    await this.page.locator("#sign-in-key").fill(key);
    await this.page.locator("#sign-in-submit").click();
    await this.page.locator("#account[data-via=session]").waitFor();
    await this.live();
  }

  /** Chooses from the menu of the account. @param {string} act */
  async account(act) {
    await this.page.locator("#account").click();
    await this.page.locator(`#menu [data-act="${act}"]`).click();
  }

  async live(milliseconds = 30_000) {
    await this.state("live", milliseconds);
    const { size } = await this.server.pool(this.pool);
    await this.until("the whole pool is shown", seesPool, size, milliseconds);
  }

  /** @param {"connecting" | "live" | "lost"} wanted */
  async state(wanted, milliseconds = 30_000) {
    const connection = this.page.locator(`#connection[data-state="${wanted}"]`);
    await connection.waitFor({ state: "attached", timeout: milliseconds });
  }

  /**
   * Waits until a function gives something truthy in the page.
   * @template A, T
   * @param {string} what
   * @param {(argument: A) => T} inPage
   * @param {A} argument
   * @param {number} [milliseconds]
   * @returns {Promise<NonNullable<T>>}
   */
  async until(what, inPage, argument, milliseconds = 20_000) {
    const look = /** @type {any} */ (inPage);
    return until(what, () => this.page.evaluate(look, argument), milliseconds);
  }

  /** @param {string} id */
  cell(id) {
    return this.page.locator(`#grid .cell[data-token-id="${id}"]`);
  }

  /**
   * Waits for what a cell shows: null without a holder.
   * @param {string} id
   * @param {string | null} user
   */
  async shows(id, user, milliseconds = 20_000) {
    const wanted = { id, user };
    await this.until(`token ${id} shows ${user}`, cellShows, wanted, milliseconds);
  }

  /** The accessible name of a cell. @param {string} id */
  name(id) {
    return this.cell(id).evaluate((cell) => {
      const parts = [...cell.children].filter((part) => part.ariaHidden !== "true");
      return cell.getAttribute("aria-label") ?? parts.map((part) => part.textContent).join(" ");
    });
  }

  /** Waits until the grid shows the state of the server. */
  async agrees(milliseconds = 20_000) {
    await until(
      "the grid shows what the server says",
      async () => {
        const tokens = await this.server.tokens(this.pool);
        const wanted = tokens.map(({ id, user }) => ({ id, user }));
        return this.page.evaluate(gridShows, wanted);
      },
      milliseconds,
    );
  }

  /** @param {string} selector */
  text(selector) {
    return this.page.locator(selector).innerText({ timeout: 20_000 });
  }

  /**
   * Waits for a text, as people see it, that a pattern fits.
   * @param {string} selector
   * @param {RegExp} pattern
   */
  async reads(selector, pattern, milliseconds = 20_000) {
    const { source } = pattern;
    const what = `${selector} reads ${pattern}`;
    await this.until(what, textFits, { selector, source }, milliseconds);
  }

  /** @param {Partial<Record<"active" | "available" | "waiting" | "size", number>>} counts */
  async counts(counts, milliseconds = 20_000) {
    for (const [name, count] of Object.entries(counts)) {
      // Thousands are grouped as the page's language does.
      const digits = String(count).replace(/\B(?=(\d{3})+$)/g, "[.,]");
      await this.reads(`#count-${name}`, new RegExp(`^${digits}$`), milliseconds);
    }
  }

  /** Allocates with the form. @param {string} user */
  async allocate(user) {
    await this.page.locator("#allocate-user").fill(user);
    await this.page.locator("#allocate-submit").click();
  }

  /** Opens a token's drawer by its cell. @param {string} id */
  async open(id) {
    await this.cell(id).click();
    await this.drawer(id);
  }

  /** Releases another user's lease in the drawer. */
  async releaseTheirs() {
    await this.page.locator("#drawer-release").click();
    await this.page.locator("#release-confirm").click();
    await this.page.locator("#release-dialog").waitFor({ state: "hidden" });
  }

  /** Waits until the drawer shows this token, or is closed (null). @param {string | null} id */
  async drawer(id, milliseconds = 20_000) {
    await this.until(`the drawer shows ${id}`, drawerShows, id, milliseconds);
  }

  /** The feed, newest first. */
  feed() {
    return this.page.locator("#events > li").evaluateAll((rows) =>
      rows.map((row) => {
        const { kind = "", reason = "" } = /** @type {HTMLElement} */ (row).dataset;
        return { what: reason || kind, text: row.textContent ?? "" };
      }),
    );
  }

  /**
   * Waits until the feed, which is not drawn for each event, begins with these.
   * @param {...string} newest "started", "renewed" or why a lease ended
   */
  async feeds(...newest) {
    await until(`the feed begins with ${newest}`, async () => {
      const feed = (await this.feed()).map(({ what }) => what);
      return `${feed.slice(0, newest.length)}` === `${newest}`;
    });
  }

  /** @param {string} reason */
  async told(reason, milliseconds = 20_000) {
    const row = this.page.locator(`#events > li[data-reason="${reason}"]`).first();
    await row.waitFor({ state: "attached", timeout: milliseconds });
  }

  /** Selector of the focused element, by its id or its classes. */
  focus() {
    return this.page.evaluate(() => {
      const focused = /** @type {HTMLElement | null} */ (document.activeElement);
      if (!focused || focused === document.body) return "nothing";
      return focused.id ? `#${focused.id}` : `.${focused.className}`;
    });
  }

  /** Horizontal overflow of the page, and the widest element. */
  overflow() {
    return this.page.evaluate(() => {
      const page = document.documentElement;
      const over = page.scrollWidth - page.clientWidth;
      if (over <= 0) return null;
      const right = (/** @type {Element} */ element) => element.getBoundingClientRect().right;
      const all = [...document.body.querySelectorAll("*")].sort((a, b) => right(b) - right(a));
      return `${over} px: ${all[0].tagName} #${all[0].id} .${all[0].className}`;
    });
  }
}

// The functions below run in the page.

/** @param {number} size */
function seesPool(size) {
  if (document.querySelector("#count-size")?.textContent?.replace(/\D/g, "") !== `${size}`)
    return false;
  if (size > 2000) return document.querySelector("canvas#map")?.checkVisibility() ?? false;
  return document.querySelectorAll("#grid .cell").length === size;
}

/** @param {{ id: string, user: string | null }} wanted */
function cellShows({ id, user }) {
  const cell = document.querySelector(`#grid .cell[data-token-id="${id}"]`);
  if (!cell || (cell.getAttribute("data-state") === "active") !== (user !== null)) return false;
  return user === null || cell.querySelector(".cell-holder")?.textContent === user;
}

/** @param {{ id: string, user: string | null }[]} wanted */
function gridShows(wanted) {
  const cells = [...document.querySelectorAll("#grid .cell")];
  return (
    cells.length === wanted.length &&
    cells.every((cell, position) => {
      const { id, user } = wanted[position];
      if (cell.getAttribute("data-token-id") !== id) return false;
      if (user === null) return cell.getAttribute("data-state") !== "active";
      return cell.querySelector(".cell-holder")?.textContent === user;
    })
  );
}

/** @param {{ selector: string, source: string }} wanted */
function textFits({ selector, source }) {
  const element = /** @type {HTMLElement | null} */ (document.querySelector(selector));
  return element !== null && new RegExp(source, "u").test(element.innerText.trim());
}

/** @param {string | null} id */
function drawerShows(id) {
  const drawer = /** @type {HTMLDialogElement} */ (document.querySelector("dialog#drawer"));
  if (id === null) return !drawer.open;
  return drawer.open && document.querySelector("#drawer-id")?.textContent?.includes(id);
}
