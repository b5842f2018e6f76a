// @ts-check
import { fillWords, isolated, onLanguage, word } from "../words/language.js";
import { announce } from "./announcer.js";
import { copies } from "./copy.js";
import { make, nameOf, tokenAddress } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/shape.js").Allocation} Allocation */

/** Message about the last allocation, and about its end. */
export class Granted {
  #live;
  #place;
  /** @type {Allocation | null} */
  #last = null;
  /** Whether the page's replica knows the lease: it may be behind the answer. */
  #heard = false;
  #what = make("p");

  /** @param {Live} live @param {HTMLElement} place */
  constructor(live, place) {
    this.#live = live;
    this.#place = place;
    const look = () => this.#last && !this.#last.over && this.#look();
    live.addEventListener("pool", () => redraw(look));
    withTime(look);
    onLanguage(() => this.#build());
  }

  /** @param {Allocation | null} allocation */
  show(allocation) {
    this.#last = allocation && { ...allocation };
    this.#heard = false;
    this.#build();
    if (!allocation) return;
    announce(word(words(allocation), {
      user: isolated(allocation.lease.user), token: this.#token(allocation),
    }));
  }

  #look() {
    const last = /** @type {Allocation} */ (this.#last);
    const token = this.#live.pool.token(last.tokenId);
    const lease = token && this.#live.pool.holder(token, shownTime(this.#live));
    this.#heard ||= (token?.lease?.fence ?? 0) >= last.lease.fence;
    const runs = lease?.id === last.lease.id;
    const late = last.lease.expiresAt <= shownTime(this.#live) && this.#live.state === "live";
    if (runs || !(this.#heard || late)) return;
    last.over = true;
    this.#say();
  }

  /** @param {Allocation} allocation */
  #token({ tokenName }) {
    return word("tokenInText", { number: tokenName });
  }

  /** Updates only the sentence, so that a button with the focus keeps it. */
  #say() {
    const last = /** @type {Allocation} */ (this.#last);
    const focused = this.#what.contains(document.activeElement);
    const link = make("a", "", this.#token(last));
    link.href = tokenAddress(last.tokenId);
    fillWords(this.#what, words(last), { user: name(last.lease.user), token: link });
    if (focused) link.focus();
    this.#place.classList.toggle("over", last.over);
  }

  #build() {
    const last = this.#last;
    if (!last) return this.#place.replaceChildren();
    this.#say();
    const copy = make("button", "quiet small", word("copy"));
    copy.type = "button";
    copies(copy, () => last.value);
    const value = make("code", "", last.value);
    // It may be long, and scroll.
    value.tabIndex = 0;
    const parts = [this.#what, make("div", "value", value, copy)];
    if (last.evicted) {
      const whose = make("p", "aside");
      fillWords(whose, "allocatedEvicted", { user: name(last.evicted.user) });
      parts.push(whose);
    }
    this.#place.replaceChildren(...parts);
  }
}

/** @param {Allocation} allocation */
const words = ({ over }) => (over ? "allocatedOver" : "allocated");

/** @param {string} user */
const name = (user) => make("span", "name", nameOf(user));
