// @ts-check
import { Problem } from "../../live/api.js";
import { word } from "../../words/language.js";
import { make, part, setText } from "../dom.js";
import { changesBetween, fillForm, NEW_POLICY, policyWords, readForm } from "../policy.js";
import { changeLines, consequences, tokensWords } from "./effect.js";
import { Calm, failureWords, Form, Mistake } from "./form.js";
import { isPoolName, namesIn } from "./names.js";
/** @typedef {import("../../live/manage.js").Manage} Manage */
/** @typedef {import("../policy.js").Rules} Rules */
/** @typedef {{ rules: Rules, active: number, waiting: number, etag: string | null }} Base */

/** Pause after a key before the server is asked for the effect, in milliseconds. */
const PAUSE = 300;

/** The dialog of a new pool, and of the policy of a pool, with the effect before it is saved. */
class PoolDialog {
  #manage;
  #then;
  #form;
  #calm = new Calm();
  /** The pool that is edited; empty for a new one. */
  #pool = "";
  /** The pool as it was read. @type {Base | null} */
  #base = null;
  #asking = 0;
  /** Number of the newest question for the effect; answers to earlier ones are dropped. */
  #asked = 0;
  /** @type {{ lines: string[], said: string[] }} */
  #effect = { lines: [], said: [] };

  /** @param {Manage} manage @param {(pool: string) => void} then */
  constructor(manage, then) {
    this.#manage = manage;
    this.#then = then;
    this.#form = new Form("policy", {
      label: () => (this.#pool ? "editSave" : "poolCreate"),
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
    part("policy-form").addEventListener("input", () => this.#changed());
  }

  create() {
    this.#start("", { rules: { description: "", policy: NEW_POLICY }, active: 0, waiting: 0,
      etag: null });
    part("policy-name", HTMLInputElement).value = "";
    part("policy-tokens", HTMLTextAreaElement).value = "";
    this.#form.open("policy-name");
  }

  /** @param {string} pool */
  async edit(pool) {
    this.#start(pool, await this.#read(pool));
    this.#form.open("policy-lease");
    this.#form.off(true);
  }

  /** @param {string} pool @param {Base} base */
  #start(pool, base) {
    this.#pool = pool;
    this.#base = base;
    this.#effect = { lines: [], said: [] };
    this.#asked += 1;
    fillForm(base.rules);
    for (const id of ["policy-name-field", "policy-tokens-field"]) part(id).hidden = pool !== "";
  }

  /** @param {string} pool @returns {Promise<Base>} */
  async #read(pool) {
    const { details, etag } = await this.#manage.pool(pool);
    const { description, policy, active, waiting } = details;
    return { rules: { description, policy }, active, waiting, etag };
  }

  #changed() {
    this.#asked += 1;
    this.#effect = { lines: [], said: [] };
    this.#draw();
    clearTimeout(this.#asking);
    this.#asking = window.setTimeout(() => void this.#ask(), PAUSE);
  }

  /** Asks the server what would change. */
  async #ask() {
    const [base, asked] = [this.#base, this.#asked];
    const rules = this.#rules();
    if (!this.#form.isOpen || !base || !this.#pool || !rules) return;
    const changes = changesBetween(base.rules, rules);
    this.#form.off(Object.keys(changes).length === 0);
    if (Object.keys(changes).length === 0) return;
    try {
      const how = { dryRun: true, ifMatch: base.etag };
      const applied = await this.#manage.putPool(this.#pool, changes, how);
      if (asked !== this.#asked) return;
      this.#effect = {
        lines: changeLines(applied),
        said: consequences(base, base.rules.policy, rules.policy, applied),
      };
      this.#draw();
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#form.fail(error);
      await this.#rebase(error);
    }
  }

  /** After a change by another client, the next attempt is compared with the new state.
   * @param {unknown} error */
  async #rebase(error) {
    const pool = this.#pool;
    if (!(error instanceof Problem) || error.code !== "precondition-failed") return;
    const base = await this.#read(pool).catch(() => null);
    if (this.#pool !== pool || !base) return;
    this.#base = base;
    void this.#ask();
  }

  /** The rules in the form, or null while they are wrong. */
  #rules() {
    try {
      return readForm();
    } catch {
      return null;
    }
  }

  #draw() {
    setText(part("policy-title"), this.#pool ? word("poolEditTitle", { pool: this.#pool })
      : word("poolNewTitle"));
    const { lines, said } = this.#effect;
    let policy;
    try {
      policy = policyWords({ name: this.#pool, policy: readForm().policy });
    } catch (mistake) {
      policy = failureWords(mistake);
    }
    if (!this.#pool) {
      policy += ` ${tokensWords(part("policy-tokens", HTMLTextAreaElement).value, "formNoTokens")}`;
    }
    setText(part("policy-words"), policy);
    for (const [id, texts] of /** @type {const} */ ([["policy-changes", lines], ["policy-said", said]])) {
      part(id).replaceChildren(...texts.map((text) => make("li", "", text)));
    }
    this.#calm.say([policy, ...lines, ...said].join(" "));
  }

  async #submit() {
    const rules = readForm();
    return this.#pool ? this.#save(rules) : this.#create(rules);
  }

  /** @param {Rules} rules */
  async #create(rules) {
    const name = part("policy-name", HTMLInputElement).value.trim();
    if (!isPoolName(name)) throw new Mistake("formNameWrong", {}, "policy-name");
    const { names, wrong } = namesIn(part("policy-tokens", HTMLTextAreaElement).value);
    if (wrong) throw new Mistake(wrong.key, wrong.values, "policy-tokens");
    const tokens = names.map((token) => ({ name: token }));
    const rest = changesBetween({ description: "", policy: NEW_POLICY }, rules);
    try {
      await this.#manage.putPool(name, { ...rest, tokens }, { create: true });
    } catch (error) {
      const exists = error instanceof Problem && error.code === "precondition-failed";
      throw exists ? new Mistake("formNameTaken", { pool: name }, "policy-name") : error;
    }
    this.#then(name);
    return word("poolCreated", { pool: name });
  }

  /** @param {Rules} rules */
  async #save(rules) {
    const base = /** @type {Base} */ (this.#base);
    const pool = this.#pool;
    try {
      const changes = changesBetween(base.rules, rules);
      if (Object.keys(changes).length === 0) return null;
      await this.#manage.putPool(pool, changes, { ifMatch: base.etag });
    } catch (error) {
      void this.#rebase(error);
      throw error;
    }
    this.#then(pool);
    return word("poolSaved", { pool });
  }
}

/**
 * The dialog that creates a pool or changes its policy.
 * @param {{ manage: Manage, then: (pool: string) => void }} parts `then` is called after a change,
 *   with the name of the pool
 */
export function startPoolDialog({ manage, then }) {
  const dialog = new PoolDialog(manage, then);
  return {
    create: () => dialog.create(),
    /** @param {string} pool */
    edit: (pool) => dialog.edit(pool),
  };
}
