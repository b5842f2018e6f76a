// @ts-check
import { word } from "../../words/language.js";
import { part, setText } from "../dom.js";
import { counts } from "./effect.js";
import { Form, Mistake } from "./form.js";
/** @typedef {import("../../live/manage.js").Manage} Manage */
/** @typedef {import("../../live/manage.js").Applied} Applied */

/** The confirmation before a pool is deleted. If leases run, the name of the pool has to be typed. */
export class DeleteDialog {
  #manage;
  #pool;
  #then;
  #form;
  /** What the deletion ends, once known. @type {Applied | null} */
  #applied = null;
  /** @type {string | null} */
  #etag = null;

  /** @param {Manage} manage @param {() => string} pool @param {() => void} then */
  constructor(manage, pool, then) {
    this.#manage = manage;
    this.#pool = pool;
    this.#then = then;
    this.#form = new Form("delete", {
      label: () => "deletePool",
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
  }

  async open() {
    this.#applied = null;
    part("delete-name", HTMLInputElement).value = "";
    this.#form.open("delete-cancel");
    this.#form.off(true);
    try {
      const { etag } = await this.#manage.pool(this.#pool());
      const how = { dryRun: true, endLeases: true, ifMatch: etag };
      this.#applied = await this.#manage.deletePool(this.#pool(), how);
      this.#etag = etag;
      this.#form.off(false);
    } catch (error) {
      this.#form.fail(error);
    }
    this.#draw();
  }

  get #running() {
    return (this.#applied?.leasesEnded ?? 0) > 0;
  }

  #draw() {
    setText(part("delete-title"), word("deleteTitle", { pool: this.#pool() }));
    setText(part("delete-counts"), this.#applied ? counts(this.#applied).join(" ") : "");
    part("delete-name-field").hidden = !this.#running;
    setText(part("delete-name-label"), word("deleteType", { pool: this.#pool() }));
  }

  async #submit() {
    const typed = part("delete-name", HTMLInputElement).value.trim();
    if (this.#running && typed !== this.#pool()) {
      throw new Mistake("deleteTypeWrong", { pool: this.#pool() }, "delete-name");
    }
    // Without a typed name, a lease that began meanwhile makes the server refuse.
    const how = { endLeases: this.#running, ifMatch: this.#etag };
    await this.#manage.deletePool(this.#pool(), how);
    this.#then();
    return null;
  }
}
