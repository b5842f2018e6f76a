// @ts-check
import { word } from "../../words/language.js";
import { part, setText } from "../dom.js";
import { tokensWords } from "./effect.js";
import { Calm, Form, Mistake } from "./form.js";
import { labelsIn } from "./labels.js";
import { namesIn } from "./names.js";
/** @typedef {import("../../live/live.js").Live} Live */
/** @typedef {import("../../live/manage.js").Manage} Manage */
/** @typedef {import("../../live/manage.js").TokenDocument} TokenDocument */

/** Tokens in one request: at 8 KiB each they fit into the largest body. */
const PER_REQUEST = 1000;

/** The dialog that adds one token, or a range of them. */
export class AddDialog {
  #live;
  #manage;
  #pool;
  #form;
  #calm = new Calm();
  /** Whether the tokens of the pool are fixed. */
  #fixed = false;

  /** @param {Live} live @param {Manage} manage @param {() => string} pool */
  constructor(live, manage, pool) {
    this.#live = live;
    this.#manage = manage;
    this.#pool = pool;
    this.#form = new Form("add", {
      label: () => "addTokens",
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
    part("add-form").addEventListener("input", () => this.#draw());
  }

  /** @param {boolean} fixed */
  open(fixed) {
    this.#fixed = fixed;
    part("add-names", HTMLTextAreaElement).value = "";
    part("add-value", HTMLTextAreaElement).value = "";
    part("add-labels", HTMLInputElement).value = "";
    this.#form.open(fixed ? "add-cancel" : "add-names");
    this.#form.off(fixed);
  }

  #draw() {
    part("add-fields").hidden = this.#fixed;
    setText(part("add-title"), word("addTitle", { pool: this.#pool() }));
    const text = this.#fixed ? word("editFixed") : this.#preview();
    setText(part("add-preview"), text);
    if (!this.#fixed) this.#calm.say(text);
  }

  #preview() {
    const text = part("add-names", HTMLTextAreaElement).value;
    const taken = this.#taken(namesIn(text).names);
    return taken ? word("addTaken", { name: taken }) : tokensWords(text, "addNone");
  }

  /** The first name that the pool has already. @param {string[]} names */
  #taken(names) {
    const present = new Set(this.#live.pool.tokens.map(({ name }) => name));
    return names.find((name) => present.has(name));
  }

  /** @returns {TokenDocument[]} */
  #tokens() {
    const { names, wrong } = namesIn(part("add-names", HTMLTextAreaElement).value);
    if (wrong) throw new Mistake(wrong.key, wrong.values, "add-names");
    const taken = this.#taken(names);
    if (taken) throw new Mistake("addTaken", { name: taken }, "add-names");
    const labels = labelsIn(part("add-labels", HTMLInputElement).value);
    if (typeof labels === "string") {
      throw new Mistake("editLabelWrong", { label: labels }, "add-labels");
    }
    const value = part("add-value", HTMLTextAreaElement).value;
    const common = Object.keys(labels).length > 0 ? { labels } : {};
    // Without a name the server chooses the token's number.
    if (names.length === 0) return [value === "" ? common : { ...common, value }];
    return names.map((name) => ({ name, ...common,
      ...(value === "" ? {} : { value: value.replaceAll("{name}", name) }) }));
  }

  async #submit() {
    const tokens = this.#tokens();
    const { etag: ifMatch } = await this.#manage.pool(this.#pool());
    if (tokens.length === 1) {
      const { name } = await this.#manage.addToken(this.#pool(), tokens[0], { ifMatch });
      return word("added", { count: 1, names: name });
    }
    await this.#checkNew(tokens, ifMatch);
    for (let from = 0; from < tokens.length; from += PER_REQUEST) {
      const some = tokens.slice(from, from + PER_REQUEST);
      await this.#manage.putTokens(this.#pool(), some, { ifMatch });
    }
    const names = `${tokens[0].name} … ${tokens[tokens.length - 1].name}`;
    return word("added", { count: tokens.length, names });
  }

  /** Refuses names that the page does not know yet, since the request would change their tokens.
   * @param {TokenDocument[]} tokens @param {string | null} ifMatch */
  async #checkNew(tokens, ifMatch) {
    for (let from = 0; from < tokens.length; from += PER_REQUEST) {
      const some = tokens.slice(from, from + PER_REQUEST);
      const how = { dryRun: true, ifMatch };
      const { changes } = await this.#manage.putTokens(this.#pool(), some, how);
      const added = new Set(changes.filter(({ kind }) => kind === "token.added")
        .map(({ token }) => token));
      const taken = some.find(({ name }) => !added.has(name));
      if (taken) throw new Mistake("addTaken", { name: taken.name ?? "" }, "add-names");
    }
  }
}
