// @ts-check
import { api, Problem } from "../live/api.js";
import { caller } from "../live/caller.js";
import { GivenUp, Waiting } from "../live/waiting.js";
import { duration, parseDuration, rough } from "../words/duration.js";
import { isolated, onLanguage, word } from "../words/language.js";
import { announce } from "./announcer.js";
import { make, part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { Granted } from "./granted.js";
import { myName, rememberMe } from "./me.js";
import { isOfConnection, onBack, problemWords } from "./problem.js";
import { isNamed } from "./state.js";
import { inTurn } from "./turns.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").Allocation} Allocation */

/** Longest wait for a token, in milliseconds: a day. */
const LONGEST_WAIT = 86_400_000;
/** Time after an answer in which the same request is not sent again, in milliseconds: it would be
 * an accidental double press. */
const CALM = 700;
/** Code of the problem that the caller may not allocate for a user, found before the request. */
const OTHER_USER = "other-user";
/** Most names of tokens offered. */
const OFFERED = 500;

/** Invalid or too long length of time in a field. */
class WrongLength extends Error {
  /** @param {HTMLInputElement} field @param {number} most in milliseconds */
  constructor(field, most) {
    super();
    this.field = field;
    this.most = most;
  }
}

/** @param {HTMLInputElement} field @param {number} most */
function lengthIn(field, most) {
  const text = field.value.trim();
  if (text === "") return undefined;
  const length = parseDuration(text);
  if (length === undefined || length > most) throw new WrongLength(field, most);
  return length;
}

class Allocating {
  #live;
  #form = part("allocate", HTMLFormElement);
  #user = part("allocate-user", HTMLInputElement);
  #token = part("allocate-token", HTMLInputElement);
  #note = part("allocate-note", HTMLInputElement);
  #length = part("allocate-length", HTMLInputElement);
  #most = part("allocate-most", HTMLInputElement);
  #granted;
  #busy = false;
  #answeredAt = -Infinity;
  /** @type {unknown} */
  #failure = null;
  /** @type {Waiting | null} */
  #wait = null;

  /** @param {Live} live */
  constructor(live) {
    this.#live = live;
    this.#granted = new Granted(live, part("allocate-result"));
    this.#startUser();
    const [form, submit] = [this.#form, part("allocate-submit")];
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.#busy && performance.now() - this.#answeredAt >= CALM) void this.#submit();
    });
    // Enter held down would send many requests, and a double click two.
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.repeat) event.preventDefault();
      if (event.key === "Escape") this.#wait?.giveUp();
    });
    submit.addEventListener("click", (event) => event.detail > 1 && event.preventDefault());
    form.addEventListener("input", () => (this.#answeredAt = -Infinity));
    part("allocate-cancel").addEventListener("click", () => this.#wait?.giveUp());
    // Leaving the page would lose the place in the queue.
    addEventListener("beforeunload", (event) => {
      if (this.#wait?.ticket && !caller.isLeaving) event.preventDefault();
    });
    addEventListener("pagehide", ({ persisted }) => persisted || this.#wait?.abandon());
    const draw = () => this.draw();
    live.addEventListener("info", () => redraw(draw));
    live.addEventListener("pool", (event) => {
      const { positions } = /** @type {CustomEvent} */ (event).detail;
      if (positions === null) part("allocate-token-field").hidden = !live.pool.tokens.some(isNamed);
    });
    this.#token.addEventListener("focus", () => this.#listNames());
    for (const kind of ["queue", "state"]) {
      live.addEventListener(kind, () => this.#wait && redraw(draw));
    }
    onBack(live, () => {
      if (!isOfConnection(this.#failure)) return;
      this.#failure = null;
      draw();
    });
    withTime(() => this.#wait && draw());
    onLanguage(draw);
    draw();
  }

  /** Fills the field of the user with a name that the caller may allocate for. */
  #startUser() {
    const field = this.#user;
    field.value = caller.mayAllocateFor(myName()) ? myName() : caller.onlyUser ?? "";
    field.readOnly = caller.onlyUser !== null;
    field.addEventListener("change", () => {
      const isWrong = field.value !== "" && !caller.mayAllocateFor(field.value);
      if (isWrong) this.#failure = new Problem(0, { code: OTHER_USER });
      else if (isAbout(this.#failure, OTHER_USER)) this.#failure = null;
      this.draw();
    });
  }

  /** Offers the names of tokens, free ones first. */
  #listNames() {
    const { pool } = this.#live;
    const now = this.#live.clock.now();
    const isFree = (/** @type {Token} */ token) => pool.status(token, now) === "available";
    const free = pool.tokens.filter(isFree).slice(0, OFFERED);
    const others = pool.tokens.filter((token) => !isFree(token)).slice(0, OFFERED - free.length);
    part("allocate-tokens").replaceChildren(...[...free, ...others].map(({ name }) => {
      const option = make("option");
      option.value = name;
      return option;
    }));
  }

  draw() {
    const { info } = this.#live;
    const ticket = this.#wait?.ticket ?? null;
    setText(part("allocate-submit"),
      word(!this.#busy ? "allocate" : ticket ? "allocateWaiting" : "allocateBusy"));
    part("allocate-submit").setAttribute("aria-disabled", String(this.#busy));
    part("allocate-wait").hidden = ticket === null;
    this.#live.place = ticket?.position ?? null;
    setText(part("allocate-wait-text"), this.#waitWords());
    part("allocate-most-field").hidden = info?.policy.when_full !== "wait";
    this.#length.placeholder = info ? duration(info.policy.lease_seconds * 1000) : "";
    setText(part("allocate-user-of"), usersWords());
    const failure = this.#failure;
    setText(part("allocate-error"), !failure ? "" : failure instanceof WrongLength
      ? word("lengthWrong", { max: duration(failure.most) }) : problemWords(failure));
    this.#user.setAttribute("aria-invalid",
      String(isAbout(failure, "invalid-user") || isAbout(failure, OTHER_USER)));
    this.#token.setAttribute("aria-invalid", String(isAbout(failure, "unknown-token")));
    for (const field of [this.#length, this.#most]) {
      const wrong = failure instanceof WrongLength && failure.field === field;
      field.setAttribute("aria-invalid", String(wrong));
    }
  }

  /** The state of the wait in words. */
  #waitWords() {
    const { ticket = null, lapsed = false } = this.#wait ?? {};
    if (ticket === null) return "";
    if (this.#live.state === "lost") return word("allocateWaitLost");
    // The list may be newer or older than the answer.
    const listed = this.#live.queue.find(({ id }) => id === ticket.id)?.position ?? Infinity;
    const left = Math.max(0, ticket.until - this.#live.clock.now());
    const words = lapsed ? "allocateWaitAgain" : "allocateWaitSays";
    return word(words, { position: Math.min(ticket.position, listed), left: rough(left) });
  }

  async #submit() {
    this.#busy = true;
    this.#failure = null;
    this.#granted.show(null);
    this.draw();
    try {
      const user = this.#user.value;
      const allocation = await this.#ask(user);
      rememberMe(user);
      this.#granted.show(allocation);
      this.#user.select();
    } catch (problem) {
      if (problem instanceof GivenUp) announce(word("allocateGivenUp"));
      else this.#failure = problem;
      if (problem instanceof WrongLength) problem.field.focus();
      else if (this.#form.contains(document.activeElement)) this.#user.focus();
    }
    this.#busy = false;
    this.#wait = null;
    this.#answeredAt = performance.now();
    this.draw();
  }

  /** @param {string} user @returns {Promise<Allocation>} */
  async #ask(user) {
    if (!caller.mayAllocateFor(user)) throw new Problem(0, { code: OTHER_USER });
    const { policy } = this.#live.info ?? await api.pool();
    const lease = lengthIn(this.#length, policy.lease_seconds * 1000);
    if (lease === 0) throw new WrongLength(this.#length, policy.lease_seconds * 1000);
    const leaseSeconds = lease === undefined ? undefined : lease / 1000;
    const wait = policy.when_full === "wait" ? lengthIn(this.#most, LONGEST_WAIT) ?? 0 : 0;
    const token = this.#token.value.trim() || undefined;
    const wishes = { leaseSeconds, token, note: this.#note.value.trim() || undefined };
    if (wait === 0 && policy.when_full !== "wait") return api.allocate(user, wishes);
    const waiting = new Waiting(user, { ...wishes, waitSeconds: wait / 1000 });
    let told = false;
    waiting.addEventListener("ticket", () => {
      // The page remembers the user, so that the queue can mark the user's own place.
      rememberMe(user);
      this.draw();
      if (!told) announce(this.#waitWords());
      told = true;
    });
    return inTurn(() => {
      this.#wait = waiting;
      return waiting.token();
    });
  }
}

/** @param {Live} live */
export function startAllocating(live) {
  const mayAllocate = caller.may("use") && caller.who.users.length > 0;
  part("allocate-panel").hidden = !mayAllocate;
  if (mayAllocate) new Allocating(live);
}

/** The users for whom the caller may allocate. */
const usersWords = () => (caller.isForAllUsers ? "" : caller.onlyUser !== null ? word("allocateUserFixed")
  : word("allocateUsers", { users: isolated(caller.who.users.join(", ")) }));

/** @param {unknown} failure @param {string} code */
const isAbout = (failure, code) => failure instanceof Problem && failure.code === code;
