// @ts-check
import { parseDuration } from "../../words/duration.js";
import { fillWords, word } from "../../words/language.js";
import { timeOfDay } from "../../words/time.js";
import { announce } from "../announcer.js";
import { nameOf, part, setText } from "../dom.js";
import { redraw } from "../frames.js";
import { myName } from "../me.js";
import { shownTime } from "../moment.js";
import { Form, Mistake } from "./form.js";
/** @typedef {import("../../live/live.js").Live} Live */
/** @typedef {import("../../live/pool.js").Token} Token */
/** @typedef {import("../../live/manage.js").Manage} Manage */
/** @typedef {"cordon" | "drain"} Kind */

/** Longest time until a taint ends by itself, in milliseconds: ten years. */
const LONGEST = 3650 * 86_400_000;
/** Time after a change of holder in which nothing is drained, in milliseconds: a press in this time was
 * meant for the lease before. */
const CALM = 1000;

/** The dialog that takes a token out of use, with or without the end of its lease. */
export class TaintDialog {
  #live;
  #manage;
  #pool;
  #form;
  /** @type {Kind} */
  #kind = "cordon";
  /** @type {Token | null} */
  #token = null;
  #key = "";
  #calm = 0;

  /** @param {Live} live @param {Manage} manage @param {() => string} pool */
  constructor(live, manage, pool) {
    this.#live = live;
    this.#manage = manage;
    this.#pool = pool;
    this.#form = new Form("taint", {
      label: () => this.#kind,
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
    live.addEventListener("pool", () => this.#form.isOpen && redraw(() => this.#draw()));
    part("taint-until").addEventListener("input", () => this.#drawUntil());
  }

  /** @param {Kind} kind @param {Token} token */
  open(kind, token) {
    this.#kind = kind;
    this.#token = token;
    this.#key = "";
    part("taint-submit").classList.toggle("danger", kind === "drain");
    part("taint-reason", HTMLInputElement).value = "";
    part("taint-until", HTMLInputElement).value = "";
    this.#form.open("taint-reason");
  }

  /** Whose lease the token has now: it may change while the dialog is open. */
  #lease() {
    const token = this.#token && this.#live.pool.token(this.#token.id);
    return token ? this.#live.pool.holder(token, shownTime(this.#live)) : null;
  }

  #draw() {
    const token = this.#token;
    if (!token) return;
    const lease = this.#lease();
    const title = this.#kind === "drain" ? "drainTitle" : "cordonTitle";
    setText(part("taint-title"), word(title, { token: token.name }));
    this.#drawUntil();
    const key = `${this.#kind} ${lease?.id} ${document.documentElement.lang}`;
    if (key === this.#key) return;
    if (this.#key !== "") this.#beCalm();
    this.#key = key;
    const words = this.#kind === "drain" ? (lease ? "drainEnds" : "drainFree")
      : lease ? "cordonHeld" : "cordonFree";
    fillWords(part("taint-effect"), words, lease
      ? { user: nameOf(lease.user), time: timeOfDay(lease.expiresAt) } : {});
  }

  #beCalm() {
    this.#form.off(true);
    clearTimeout(this.#calm);
    this.#calm = window.setTimeout(() => {
      this.#form.off(false);
      announce(part("taint-effect").textContent ?? "");
    }, CALM);
  }

  #drawUntil() {
    const ms = parseDuration(part("taint-until", HTMLInputElement).value);
    setText(part("taint-until-time"), ms === undefined ? word("taintForever")
      : word("taintUntil", { time: timeOfDay(this.#live.clock.now() + ms) }));
  }

  /** When the taint ends by itself. */
  #until() {
    const text = part("taint-until", HTMLInputElement).value.trim();
    if (text === "") return undefined;
    const ms = parseDuration(text);
    if (!ms || ms > LONGEST) throw new Mistake("lengthWrong", { max: "3650d" }, "taint-until");
    return new Date(this.#live.clock.now() + ms).toISOString();
  }

  async #submit() {
    const { id, name } = /** @type {Token} */ (this.#token);
    const until = this.#until();
    const reason = part("taint-reason", HTMLInputElement).value.trim();
    const effect = this.#kind === "drain" ? "end-lease" : "no-new-leases";
    // The names of the command line, so that its `uncordon` removes them.
    const ended = await this.#manage.setTaint(this.#pool(), id,
      { name: this.#kind, effect, reason, by: myName() || undefined, until });
    if (this.#kind === "cordon") return word("cordoned", { token: name });
    return word(ended ? "drained" : "drainedFree", { token: name });
  }
}
