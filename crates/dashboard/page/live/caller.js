// @ts-check
// The caller of the page and its rights, so that views offer only what the server permits.
import { api as pageApi, Problem } from "./api.js";
import { backoff } from "./backoff.js";
import { SESSION } from "./request.js";
import { whoOf } from "./shape.js";
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./shape.js").Rights} Rights */
/** @typedef {import("./shape.js").Who} Who */

/** @type {Rights[]} each includes those before it */
export const RIGHTS = ["read", "use", "operate", "admin"];

/** Pauses between attempts to learn who the caller is, in milliseconds. */
const RETRY = 500;
const RETRY_MOST = 5000;

/** @type {Who} */
const UNKNOWN = { via: "anonymous", rights: null, keyId: null, keyName: null, pools: [], users: [],
  expiresAt: null, keysExist: true };

/** Dispatches `changed` when the server sees another caller than before, or gives it other rights. */
export class Caller extends EventTarget {
  who = UNKNOWN;
  /** Whether the page is about to be loaded again, so that nothing on it is worth a question. */
  isLeaving = false;

  #api;
  /** @type {Promise<void> | null} */
  #checking = null;
  /** Whether the page shows something that must not get lost. */
  isHeld = false;

  /** @param {Pick<Api, "request" | "onDenied">} [api] */
  constructor(api = pageApi) {
    super();
    this.#api = api;
    api.onDenied(() => void this.check());
  }

  /** Asks who the caller is, until the server answers. */
  async learn() {
    for (let failures = 0; ; failures += 1) {
      try {
        this.who = await this.ask();
        return;
      } catch {
        const wait = backoff(failures, RETRY, RETRY_MOST);
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  /** @returns {Promise<Who>} */
  async ask() {
    try {
      return whoOf((await this.#api.request(SESSION)).body);
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 401) return UNKNOWN;
      throw problem;
    }
  }

  /** Asks again, as after a request that was refused. */
  check() {
    this.#checking ??= this.#check().finally(() => (this.#checking = null));
    return this.#checking;
  }

  async #check() {
    // Without an answer, the next refused request asks again.
    const who = await this.ask().catch(() => this.who);
    if (!this.isHeld && isOther(who, this.who)) this.dispatchEvent(new Event("changed"));
  }

  /** Ignores changes until the returned function is called. */
  hold() {
    this.isHeld = true;
    return () => {
      this.isHeld = false;
      return this.check();
    };
  }

  /** Exchanges a key or a code for a session, whose secret the page never sees.
   * @param {{ key: string } | { code: string }} secret */
  async signIn(secret) {
    await this.#api.request(SESSION, { method: "POST", body: secret });
  }

  /** @param {boolean} everywhere whether all browsers of the key are signed out */
  async signOut(everywhere) {
    await this.#api.request(`${SESSION}?everywhere=${everywhere}`, { method: "DELETE" });
  }

  /** @param {Rights} right */
  may(right) {
    const { rights } = this.who;
    return rights !== null && RIGHTS.indexOf(rights) >= RIGHTS.indexOf(right);
  }

  /** Whether it may allocate for this user. @param {string} user */
  mayAllocateFor(user) {
    return this.may("use") && this.who.users.some((pattern) => fits(pattern, user));
  }

  /** Whether it may renew and end leases of this user. @param {string} user */
  mayActFor(user) {
    return this.may("operate") || this.mayAllocateFor(user);
  }

  /** The only user for whom it may allocate; null if there are several, or none. */
  get onlyUser() {
    const { users } = this.who;
    return users.length === 1 && !users[0].endsWith("*") ? users[0] : null;
  }

  /** Whether it may allocate for every user. */
  get isForAllUsers() {
    return this.who.users.includes("*");
  }
}

/** @param {string} pattern @param {string} name */
function fits(pattern, name) {
  if (pattern.endsWith("*")) return name.startsWith(pattern.slice(0, -1));
  // UUIDs in another spelling are the same user.
  return pattern === name || (UUID.test(pattern) && pattern.toLowerCase() === name.toLowerCase());
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** @param {Who} one @param {Who} other */
function isOther(one, other) {
  const text = (/** @type {Who} */ { via, rights, keyId, pools, users }) =>
    JSON.stringify([via, rights, keyId, pools, users]);
  return text(one) !== text(other);
}

export const caller = new Caller();
