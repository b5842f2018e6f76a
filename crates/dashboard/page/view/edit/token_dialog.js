// @ts-check
import { word } from "../../words/language.js";
import { part, setText } from "../dom.js";
import { Form, Mistake } from "./form.js";
import { labelsIn, labelsText } from "./labels.js";
import { isTokenName } from "./names.js";
/** @typedef {import("../../live/live.js").Live} Live */
/** @typedef {import("../../live/pool.js").Token} Token */
/** @typedef {import("../../live/manage.js").Manage} Manage */
/** @typedef {import("../../live/manage.js").TokenDocument} TokenDocument */

/** The dialog that changes name, value and labels of a token. */
export class TokenDialog {
  #live;
  #manage;
  #pool;
  #form;
  /** @type {Token | null} as it was when the dialog was opened */
  #token = null;
  /** The tag of the pool at that time. @type {Promise<string | null>} */
  #etag = Promise.resolve(null);

  /** @param {Live} live @param {Manage} manage @param {() => string} pool */
  constructor(live, manage, pool) {
    this.#live = live;
    this.#manage = manage;
    this.#pool = pool;
    this.#form = new Form("token", {
      label: () => "editSave",
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
  }

  /** @param {Token} token */
  open(token) {
    this.#token = { ...token };
    this.#etag = this.#manage.pool(this.#pool()).then(({ etag }) => etag);
    // A failure is reported when the dialog is submitted.
    this.#etag.catch(() => {});
    part("token-name", HTMLInputElement).value = token.name;
    part("token-value", HTMLTextAreaElement).value = "";
    part("token-labels", HTMLInputElement).value = labelsText(token.labels);
    this.#form.open("token-name");
  }

  #draw() {
    const token = this.#token;
    if (!token) return;
    setText(part("token-title"), word("tokenEditTitle", { token: token.name }));
    setText(part("token-value-now"), token.value === undefined ? word("tokenValueHidden")
      : word("tokenValueNow", { value: token.value }));
    setText(part("token-held"), token.lease ? word("tokenHeld") : "");
  }

  /** The members that the form changes. @param {Token} token @returns {TokenDocument} */
  #changes(token) {
    /** @type {TokenDocument} */
    const changes = {};
    const name = part("token-name", HTMLInputElement).value.trim();
    if (!isTokenName(name)) throw new Mistake("editNameWrong", { name }, "token-name");
    if (name !== token.name) changes.name = name;
    const value = part("token-value", HTMLTextAreaElement).value;
    if (value !== "") changes.value = value;
    const labels = labelsIn(part("token-labels", HTMLInputElement).value);
    if (typeof labels === "string") {
      throw new Mistake("editLabelWrong", { label: labels }, "token-labels");
    }
    if (labelsText(labels) !== labelsText(token.labels)) changes.labels = labels;
    return changes;
  }

  async #submit() {
    const token = /** @type {Token} */ (this.#token);
    const changes = this.#changes(token);
    if (Object.keys(changes).length === 0) return null;
    const ifMatch = await this.#etag;
    // The tag is that of the pool, so a change of the token itself is noticed by the page.
    const now = this.#live.pool.token(token.id);
    const same = now?.name === token.name && labelsText(now.labels) === labelsText(token.labels);
    if (!same) throw new Mistake("problem-precondition-failed", {});
    await this.#manage.patchToken(this.#pool(), token.id, changes, { ifMatch });
    return word("tokenSaved", { token: changes.name ?? token.name });
  }
}
