// @ts-check
import { caller } from "../../live/caller.js";
import { word } from "../../words/language.js";
import { make, part, setText } from "../dom.js";
import { Form } from "../edit/form.js";
/** @typedef {import("../../live/keys.js").Keys} Keys */
/** @typedef {import("../../live/shape.js").ApiKey} ApiKey */

/** The confirmation before an API key is revoked. */
export class RevokeDialog {
  #keys;
  #then;
  #form;
  /** @type {ApiKey | null} */
  #key = null;

  /** @param {Keys} keys @param {() => Promise<void>} then */
  constructor(keys, then) {
    this.#keys = keys;
    this.#then = then;
    this.#form = new Form("revoke", {
      label: () => "revokeSubmit",
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
  }

  /** @param {ApiKey} key */
  open(key) {
    this.#key = key;
    this.#form.open("revoke-cancel");
  }

  #draw() {
    const { id, name, leases, sessions } = /** @type {ApiKey} */ (this.#key);
    setText(part("revoke-title"), word("revokeTitle", { key: name }));
    part("revoke-own").hidden = id !== caller.who.keyId;
    const effects = [];
    if (sessions > 0) effects.push(word("revokeSessions", { count: sessions }));
    if (leases > 0) effects.push(word("revokeLeases", { count: leases }));
    part("revoke-effects").replaceChildren(...effects.map((text) => make("li", "", text)));
  }

  async #submit() {
    const { id, name } = /** @type {ApiKey} */ (this.#key);
    await this.#keys.revoke(id);
    if (id === caller.who.keyId) void caller.check();
    else void this.#then();
    return word("revoked", { key: name });
  }
}
