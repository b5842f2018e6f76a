// @ts-check
import { onLanguage, word } from "../../words/language.js";
import { timeOfDay } from "../../words/time.js";
import { make, nameOf, part, setText } from "../dom.js";
import { problemWords } from "../problem.js";
/** @typedef {import("../../live/keys.js").Keys} Keys */
/** @typedef {import("../../live/shape.js").AuditEntry} AuditEntry */
/** @typedef {import("../../words/language.js").Key} Key */

/** Kinds of actions, in the order in which the filter lists them. */
export const ACTIONS = /** @type {const} */ (["key.created", "key.rotated", "key.revoked",
  "session.started", "session.ended", "pools.changed", "token.tainted", "token.untainted", "pool.cleared",
  "lease.released", "ticket.removed"]);
/** Pause after a key before the log is filtered, in milliseconds. */
const PAUSE = 300;

/** The audit log, newest first. */
export class Audit {
  #keys;
  #action = part("audit-action", HTMLSelectElement);
  #key = part("audit-key", HTMLInputElement);
  /** @type {AuditEntry[]} */
  #entries = [];
  /** @type {string | null} */
  #next = null;
  /** Number of the newest request; answers to earlier ones are dropped. */
  #asked = 0;
  #busy = false;
  /** @type {unknown} */
  #failure = null;
  #pause = 0;

  /** @param {Keys} keys */
  constructor(keys) {
    this.#keys = keys;
    this.#action.append(...["", ...ACTIONS].map((action) => {
      const option = make("option");
      option.value = action;
      return option;
    }));
    this.#action.addEventListener("change", () => void this.load());
    this.#key.addEventListener("input", () => {
      clearTimeout(this.#pause);
      this.#pause = window.setTimeout(() => void this.load(), PAUSE);
    });
    part("audit-more").addEventListener("click", () => void this.#more());
    onLanguage(() => this.#draw());
    this.#draw();
  }

  /** Reads the newest entries again. */
  async load() {
    await this.#read(null, (entries) => (this.#entries = entries));
  }

  async #more() {
    if (this.#busy || this.#next === null) return;
    await this.#read(this.#next, (entries) => (this.#entries = [...this.#entries, ...entries]));
    if (part("audit-more").hidden) part("audit-list").querySelector("li:last-child")?.scrollIntoView();
  }

  /** @param {string | null} from @param {(entries: AuditEntry[]) => void} take */
  async #read(from, take) {
    const asked = (this.#asked += 1);
    this.#busy = true;
    this.#draw();
    try {
      const filter = { action: this.#action.value, key: this.#key.value.trim() };
      const { entries, next } = await this.#keys.audit(filter, from);
      if (asked !== this.#asked) return;
      this.#next = next;
      this.#failure = null;
      take(entries);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#failure = error;
    }
    this.#busy = false;
    this.#draw();
  }

  #draw() {
    [...this.#action.options].forEach((option) => setText(option,
      option.value === "" ? word("auditAll") : word(/** @type {Key} */ (`audit-${option.value}`))));
    setText(part("audit-error"), this.#failure ? problemWords(this.#failure, true) : "");
    part("audit-more").hidden = this.#next === null;
    const none = this.#entries.length === 0;
    setText(part("audit-note"), this.#busy && none ? word("drawerLoading")
      : this.#failure ? "" : none ? word("auditNone") : this.#next === null ? word("auditEnd") : "");
    const list = part("audit-list");
    list.setAttribute("aria-busy", String(this.#busy));
    list.replaceChildren(...this.#entries.map(item));
    this.#offerKeys();
  }

  /** Offers the names of the keys that acted. */
  #offerKeys() {
    const names = new Set(this.#entries.flatMap(({ keyName }) => keyName ?? []));
    part("audit-keys").replaceChildren(...[...names].sort().map((name) => {
      const option = make("option");
      option.value = name;
      return option;
    }));
  }
}

/** @param {AuditEntry} entry */
function item({ at, keyName, action, pool, subject }) {
  const isKnown = /** @type {readonly string[]} */ (ACTIONS).includes(action);
  const what = make("span", "audit-what", isKnown ? word(/** @type {Key} */ (`audit-${action}`)) : action);
  const whom = make("span", "audit-subject", make("bdi", "", subject));
  if (pool !== null) whom.append(" · ", word("auditPool", { pool }));
  const who = make("span", "audit-who", keyName === null ? word("auditAnonymous") : nameOf(keyName));
  const time = make("time", "", timeOfDay(at));
  time.dateTime = new Date(at).toISOString();
  const made = make("li", "", time, what, whom, who);
  made.dataset.action = action;
  return made;
}
