// @ts-check
import { onLanguage, word } from "../../words/language.js";
import { timeOfDay } from "../../words/time.js";
import { make, part, setText } from "../dom.js";
import { keyNames } from "../key_names.js";
import { problemWords } from "../problem.js";
/** @typedef {import("../../live/keys.js").Keys} Keys */
/** @typedef {import("../../live/shape.js").Refusal} Refusal */

/** The requests that the server refused lately, newest first. */
export class Refusals {
  #keys;
  /** @type {Refusal[]} */
  #rows = [];
  #busy = false;
  /** @type {unknown} */
  #failure = null;

  /** @param {Keys} keys */
  constructor(keys) {
    this.#keys = keys;
    part("refusals-again").addEventListener("click", () => void this.load());
    keyNames.addEventListener("change", () => this.#draw());
    onLanguage(() => this.#draw());
  }

  /** Reads them again. */
  async load() {
    if (this.#busy) return;
    this.#busy = true;
    this.#draw();
    try {
      this.#rows = await this.#keys.refusals();
      this.#failure = null;
    } catch (error) {
      this.#failure = error;
    }
    this.#busy = false;
    this.#draw();
  }

  #draw() {
    setText(part("refusals-error"), this.#failure ? problemWords(this.#failure, true) : "");
    const none = this.#rows.length === 0;
    setText(part("refusals-note"), this.#busy && none ? word("drawerLoading")
      : none && !this.#failure ? word("refusalsNone") : "");
    part("refusals-list").setAttribute("aria-busy", String(this.#busy));
    part("refusals-list").replaceChildren(...this.#rows.map(item));
  }
}

/** @param {Refusal} refusal */
function item({ at, address, keyId, method, route, code }) {
  const time = make("time", "", timeOfDay(at));
  time.dateTime = new Date(at).toISOString();
  const what = make("span", "audit-what", make("code", "", code));
  const request = make("span", "audit-subject", `${method} ${route ?? word("refusalsPath")}`);
  const key = keyId === null ? word("auditAnonymous") : word("refusalsKey", { key: keyNames.of(keyId) });
  const who = make("span", "audit-who", make("bdi", "", address), " · ", key);
  who.title = who.textContent ?? "";
  const made = make("li", "", time, what, request, who);
  made.dataset.code = code;
  return made;
}
