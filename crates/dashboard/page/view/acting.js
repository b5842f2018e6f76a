// @ts-check
import { api } from "../live/api.js";
import { isolated, word } from "../words/language.js";
import { timeOfDay } from "../words/time.js";
import { announce, notify } from "./announcer.js";
import { part, setText } from "./dom.js";
import { isMe } from "./me.js";
import { isOfConnection, onBack, problemWords } from "./problem.js";
import { startReleasing } from "./releasing.js";
import { tokenSentence } from "./state.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").Lease} Lease */
/** @typedef {"release" | "renew"} Act */

/** Time after a change of holder in which the new lease can't be changed, in milliseconds: a press
 * in this time was meant for the lease before. */
const CALM = 1000;

/** Actions on the lease in the drawer: only on the lease that the user saw. */
export class Acting {
  #live;
  #tokenId = "";
  /** @type {{ token: Token, lease: Lease | null } | null} what the drawer shows */
  #shown = null;
  /** @type {Lease | null} the lease shown when a button went down */
  #pressed = null;
  /** @type {Map<string, Act>} by token */
  #underWay = new Map();
  #calm = 0;
  #askWhether;
  /** The failure of the last action. @type {unknown} */
  #failure = null;

  /** @param {Live} live */
  constructor(live) {
    this.#live = live;
    this.#askWhether = startReleasing(live);
    onBack(live, () => isOfConnection(this.#failure) && this.#fail(null));
    for (const act of /** @type {const} */ (["release", "renew"])) {
      const button = part(`drawer-${act}`);
      const press = () => (this.#pressed = this.#shown?.lease ?? null);
      button.addEventListener("pointerdown", press);
      button.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        if (!event.repeat) press();
        else if (event.key === "Enter") event.preventDefault();
      });
      button.addEventListener("click", ({ detail }) => {
        const lease = this.#pressed ?? this.#shown?.lease;
        this.#pressed = null;
        // The second half of a double click was meant for the lease of the first.
        if (lease && detail <= 1) this.#act(act, lease);
      });
    }
  }

  /**
   * Sets the token and the lease that the drawer shows.
   * @param {string} tokenId @param {Token | undefined} token @param {Lease | null} lease
   */
  show(tokenId, token, lease) {
    const before = this.#tokenId === tokenId ? this.#shown : null;
    if (this.#tokenId !== tokenId) {
      this.#pressed = null;
      this.#endCalm();
      this.#fail(null);
    }
    this.#tokenId = tokenId;
    this.#shown = token ? { token, lease } : null;
    if (before && before.lease?.fence !== lease?.fence) this.#beCalm();
    this.label();
  }

  #beCalm() {
    clearTimeout(this.#calm);
    this.#calm = window.setTimeout(() => {
      this.#endCalm();
      this.label();
      if (this.#shown) announce(tokenSentence(this.#live, this.#shown.token));
    }, CALM);
  }

  #endCalm() {
    clearTimeout(this.#calm);
    this.#calm = 0;
  }

  label() {
    const act = this.#underWay.get(this.#tokenId);
    setText(part("drawer-release"), word(act === "release" ? "releaseBusy" : "release"));
    setText(part("drawer-renew"), word(act === "renew" ? "renewBusy" : "renew"));
    const off = String(act !== undefined || this.#calm !== 0);
    for (const name of ["release", "renew"]) {
      part(`drawer-${name}`).setAttribute("aria-disabled", off);
    }
  }

  /** @param {Act} act @param {Lease} lease */
  async #act(act, lease) {
    const { token, lease: current } = this.#shown ?? {};
    if (!token || this.#underWay.has(token.id)) return;
    if (this.#calm !== 0 && current?.fence === lease.fence) return;
    this.#fail(null);
    const theirs = act === "release" && !isMe(lease.user);
    if (theirs && !await this.#askWhether(token, lease)) return;
    this.#underWay.set(token.id, act);
    this.label();
    try {
      announce(await this.#done(act, lease, token));
    } catch (error) {
      if (this.#tokenId === token.id) this.#fail(error);
      else notify(`${word("token", { number: token.name })}: ${problemWords(error)}`);
    }
    this.#underWay.delete(token.id);
    this.label();
  }

  /** @param {unknown} failure */
  #fail(failure) {
    this.#failure = failure;
    setText(part("drawer-error"), failure ? problemWords(failure) : "");
  }

  /** @param {Act} act @param {Lease} lease @param {Token} token @returns {Promise<string>} */
  async #done(act, lease, token) {
    if (act === "renew") {
      const { expiresAt } = await api.renew(lease.id);
      return word("renewed", { time: timeOfDay(expiresAt) });
    }
    await api.releaseLease(lease.id);
    const text = word("tokenInText", { number: token.name });
    return word("released", { user: isolated(lease.user), token: text });
  }
}
