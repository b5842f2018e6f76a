// @ts-check
import { api } from "../live/api.js";
import { caller } from "../live/caller.js";
import { createKeys } from "../live/keys.js";

/** Maximum number of names that are remembered. */
const KEPT = 1000;

/** Names of API keys by their ids. Only administrators can read those of other keys. It dispatches `change`
 * when names became known. */
class KeyNames extends EventTarget {
  #keys = createKeys(api.request);
  /** @type {Map<string, string>} */
  #names = new Map();
  /** The last of the requests, which follow one another. */
  #reading = Promise.resolve();

  /** The name of a key, or its id until the name is known. @param {string} id */
  of(id) {
    if (id === caller.who.keyId) return caller.who.keyName ?? id;
    if (!this.#names.has(id) && caller.may("admin")) this.#ask(id);
    return this.#names.get(id) ?? id;
  }

  /** @param {string} id */
  #ask(id) {
    if (this.#names.size >= KEPT) this.#names.clear();
    // A revoked key has no name here, and a failed request is not repeated.
    this.#names.set(id, id);
    this.#reading = this.#reading.then(async () => {
      const { keys } = await this.#keys.list(id).catch(() => ({ keys: [] }));
      for (const { id, name } of keys) this.#names.set(id, name);
      if (keys.length > 0) this.dispatchEvent(new Event("change"));
    });
  }
}

/** The names of this page. */
export const keyNames = new KeyNames();
