// @ts-check
import { fillWords, word } from "../../words/language.js";
import { timeOfDay } from "../../words/time.js";
import { nameOf, part, setText } from "../dom.js";
import { redraw } from "../frames.js";
import { shownTime } from "../moment.js";
import { counts } from "./effect.js";
import { Form } from "./form.js";
/** @typedef {import("../../live/live.js").Live} Live */
/** @typedef {import("../../live/pool.js").Token} Token */
/** @typedef {import("../../live/manage.js").Manage} Manage */

/** The confirmation before a token is retired. */
export class RetireDialog {
  #live;
  #manage;
  #pool;
  #form;
  /** @type {Token | null} */
  #token = null;
  /** @type {string | null} */
  #etag = null;
  #key = "";

  /** @param {Live} live @param {Manage} manage @param {() => string} pool */
  constructor(live, manage, pool) {
    this.#live = live;
    this.#manage = manage;
    this.#pool = pool;
    this.#form = new Form("retire", {
      label: () => "retire",
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
    live.addEventListener("pool", () => this.#form.isOpen && redraw(() => this.#draw()));
  }

  /** @param {Token} token */
  async open(token) {
    this.#token = token;
    this.#key = "";
    setText(part("retire-counts"), "");
    this.#form.open("retire-cancel");
    this.#form.off(true);
    try {
      const { etag } = await this.#manage.pool(this.#pool());
      const how = { dryRun: true, ifMatch: etag };
      const applied = await this.#manage.retireToken(this.#pool(), token.id, how);
      if (this.#token !== token) return;
      this.#etag = etag;
      setText(part("retire-counts"), counts(applied).join(" "));
      this.#form.off(false);
    } catch (error) {
      if (this.#token === token) this.#form.fail(error);
    }
  }

  #draw() {
    const token = this.#token;
    if (!token) return;
    setText(part("retire-title"), word("retireTitle", { token: token.name }));
    const now = this.#live.pool.token(token.id);
    const lease = now ? this.#live.pool.holder(now, shownTime(this.#live)) : null;
    const key = `${lease?.id} ${lease?.expiresAt} ${document.documentElement.lang}`;
    if (key === this.#key) return;
    this.#key = key;
    fillWords(part("retire-effect"), lease ? "retireHeld" : "retireFree", lease
      ? { user: nameOf(lease.user), time: timeOfDay(lease.expiresAt) } : {});
  }

  async #submit() {
    const { id, name } = /** @type {Token} */ (this.#token);
    const { changes } = await this.#manage.retireToken(this.#pool(), id, { ifMatch: this.#etag });
    const until = changes.find(({ retiringUntil }) => retiringUntil !== null)?.retiringUntil;
    return until ? word("retiredLater", { token: name, time: timeOfDay(until) })
      : word("retired", { token: name });
  }
}
