// @ts-check
import { api } from "../../live/api.js";
import { caller } from "../../live/caller.js";
import { createKeys } from "../../live/keys.js";
import { onBackdrop, part } from "../dom.js";
import { Audit } from "./audit.js";
import { KeyList } from "./key_list.js";
import { Refusals } from "./refusals.js";

/** What the dialog shows, by the page's address. */
const VIEWS = /** @type {const} */ ({ "#keys": "keys", "#audit": "audit", "#refusals": "refusals" });
/** @typedef {(typeof VIEWS)[keyof typeof VIEWS]} View */

/** The dialog with the API keys, the audit log and the refused requests. */
class Access {
  #dialog = part("access", HTMLDialogElement);
  #panes;
  /** @type {View | null} */
  #view = null;
  /** Whether closing may go back in the browser's history, to the page without the dialog. */
  #cameFromPage = false;

  constructor() {
    const keys = createKeys(api.request);
    this.#panes = { keys: new KeyList(keys), audit: new Audit(keys), refusals: new Refusals(keys) };
    const dialog = this.#dialog;
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#close();
    });
    onBackdrop(dialog, () => this.#close());
    part("access-close").addEventListener("click", () => this.#close());
    for (const [hash, view] of Object.entries(VIEWS)) {
      part(`access-${view}`).addEventListener("click", () => {
        history.replaceState(null, "", hash);
        this.#follow();
      });
    }
    addEventListener("hashchange", () => {
      this.#cameFromPage = this.#view === null;
      this.#follow();
    });
    this.#follow();
  }

  #follow() {
    const view = VIEWS[/** @type {keyof typeof VIEWS} */ (location.hash)] ?? null;
    if (view === this.#view) return;
    this.#view = view;
    if (view === null) return this.#dialog.close();
    for (const name of Object.values(VIEWS)) {
      part(`${name}-pane`).hidden = name !== view;
      part(`access-${name}`).setAttribute("aria-pressed", String(name === view));
    }
    part("access-body").scrollTop = 0;
    void this.#panes[view].load();
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    part("access-title").focus();
  }

  #close() {
    if (this.#cameFromPage) {
      this.#view = null;
      this.#dialog.close();
      history.back();
    } else {
      history.replaceState(null, "", location.pathname + location.search);
      this.#follow();
    }
    this.#cameFromPage = false;
  }
}

/** The administration of API keys, for those who may. */
export function startAccess() {
  if (caller.may("admin")) new Access();
}
