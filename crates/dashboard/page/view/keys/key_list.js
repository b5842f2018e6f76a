// @ts-check
import { caller } from "../../live/caller.js";
import { clock } from "../../live/clock.js";
import { number, onLanguage, word } from "../../words/language.js";
import { ago, dayAndTime } from "../../words/time.js";
import { notify } from "../announcer.js";
import { make, part, setText } from "../dom.js";
import { problemWords } from "../problem.js";
import { KeyDialog } from "./key_dialog.js";
import { RevokeDialog } from "./revoke_dialog.js";
import { RotateDialog } from "./rotate_dialog.js";
import { SecretDialog } from "./secret_dialog.js";
/** @typedef {import("../../live/keys.js").Keys} Keys */
/** @typedef {import("../../live/shape.js").ApiKey} ApiKey */
/** @typedef {import("../../words/language.js").Key} Key */
/** @typedef {"rotate" | "sign-out" | "revoke"} Act */

/** Pause after a key press before the keys are searched, in milliseconds. */
const PAUSE = 300;

/** The API keys, and what can be done with them. */
export class KeyList {
  #keys;
  #list = part("keys-list");
  #search = part("keys-search", HTMLInputElement);
  #dialogs;
  /** @type {ApiKey[]} */
  #rows = [];
  /** @type {string | null} */
  #next = null;
  #loaded = false;
  /** The search of the rows shown. */
  #found = "";
  /** Number of the newest request; answers to earlier ones are dropped. */
  #asked = 0;
  #pause = 0;
  /** @type {unknown} */
  #failure = null;

  /** @param {Keys} keys */
  constructor(keys) {
    this.#keys = keys;
    const load = () => this.load();
    const secret = new SecretDialog();
    this.#dialogs = {
      create: new KeyDialog(keys, secret, load),
      rotate: new RotateDialog(keys, secret, load),
      revoke: new RevokeDialog(keys, load),
    };
    part("keys-new").addEventListener("click", () => this.#dialogs.create.open());
    part("keys-more").addEventListener("click", () => void this.#more());
    this.#list.addEventListener("click", ({ target }) => this.#press(target));
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#pause);
      this.#pause = window.setTimeout(load, PAUSE);
    });
    onLanguage(() => this.#draw());
  }

  /** Reads the keys again. */
  async load() {
    await this.#read(null, (keys) => (this.#rows = keys));
  }

  async #more() {
    const known = this.#rows.length;
    await this.#read(this.#next, (keys) => (this.#rows = [...this.#rows, ...keys]));
    // The focus must not disappear with the button.
    const first = this.#list.children[known]?.querySelector("button");
    if (part("keys-more").hidden && first) first.focus();
  }

  /** @param {string | null} from @param {(keys: ApiKey[]) => void} take */
  async #read(from, take) {
    const asked = (this.#asked += 1);
    const search = this.#search.value.trim();
    try {
      const { keys, next } = await this.#keys.list(search, from);
      if (asked !== this.#asked) return;
      this.#found = search;
      this.#next = next;
      this.#loaded = true;
      this.#failure = null;
      take(keys);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#failure = error;
    }
    this.#draw();
  }

  #draw() {
    setText(part("keys-error"), this.#failure ? problemWords(this.#failure, true) : "");
    part("keys-more").hidden = this.#next === null;
    const [none, whole] = [this.#rows.length === 0, this.#next === null];
    setText(part("keys-text"), !this.#loaded ? word("drawerLoading") : none ? word(this.#found ? "keysNotFound" : "keysNone")
      : word(whole ? "keysCount" : "keysFirst", { count: this.#rows.length }));
    const focused = focusIn(this.#list);
    this.#list.setAttribute("aria-busy", String(!this.#loaded));
    this.#list.replaceChildren(...this.#rows.map(item));
    if (focused) (this.#button(...focused) ?? part("access-title", HTMLElement)).focus();
  }

  /** @param {string} id of a key @param {string} act @returns {HTMLElement | undefined} */
  #button(id, act) {
    const buttons = /** @type {HTMLElement[]} */ ([...this.#list.querySelectorAll("button")]);
    return buttons.find((button) => button.dataset.act === act && keyOf(button) === id);
  }

  /** @param {EventTarget | null} target */
  #press(target) {
    const button = target instanceof Element ? target.closest("button") : null;
    const key = button && this.#rows.find(({ id }) => id === keyOf(button));
    if (!key) return;
    const act = /** @type {Act} */ (button?.dataset.act);
    if (act === "sign-out") void this.#signOut(key);
    else this.#dialogs[act].open(key);
  }

  /** @param {ApiKey} key */
  async #signOut({ id, name }) {
    try {
      const count = await this.#keys.endSessions(id);
      notify(word("keySignedOut", { count, key: name }));
      if (id === caller.who.keyId) return void caller.check();
      await this.load();
    } catch (error) {
      notify(problemWords(error));
    }
  }
}

/** Id of the key that a button is about. @param {Element} button */
const keyOf = (button) => button.closest("li")?.dataset.key;

/** The key and the act of the focused button in a list. @param {Element} list @returns {[string, string] | null} */
function focusIn(list) {
  const focused = document.activeElement;
  if (!(focused instanceof HTMLElement) || !list.contains(focused)) return null;
  return [keyOf(focused) ?? "", focused.dataset.act ?? ""];
}

/** @param {ApiKey} key */
function item(key) {
  const title = make("h3", "", make("bdi", "", key.name));
  const rights = make("span", "rights", word(`rights-${key.rights}`));
  rights.dataset.rights = key.rights;
  const id = make("code", "", key.id);
  id.title = word("keyId");
  const head = make("div", "key-head", title, rights, id);
  if (key.id === caller.who.keyId) head.append(make("b", "you", word("keyYours")));
  const made = make("li", "", head, make("dl", "key-facts", ...facts(key)),
    make("div", "key-acts", ...acts(key)));
  made.dataset.key = key.id;
  return made;
}

/** @param {ApiKey} key */
function facts(key) {
  const { pools, users, expiresAt, lastUsedAt, leases, maxLeases, maxRequestsPerSecond } = key;
  const names = (/** @type {string[]} */ all, /** @type {Key} */ whole) =>
    (all.includes("*") ? word(whole) : all.join(", ") || word("keyNothing"));
  const running = maxLeases === null ? number(leases) : word("usedOf", { active: leases, size: maxLeases });
  /** @type {[Key, string][]} */
  const rows = [
    ["keyPools", names(pools, "keyAllPools")],
    ["keyUsers", names(users, "keyAllUsers")],
    ["keyExpires", expiresAt === null ? word("keyNever") : dayAndTime(expiresAt)],
    ["keyUsed", lastUsedAt === null ? word("keyUnused") : ago(clock.now() - lastUsedAt)],
    ["keyRunning", running],
    ["keySessions", number(key.sessions)],
  ];
  if (maxRequestsPerSecond !== null) rows.push(["keyRate", number(maxRequestsPerSecond)]);
  if (key.rotatingUntil !== null) rows.push(["keyOldSecret", dayAndTime(key.rotatingUntil)]);
  return rows.map(([name, text]) => {
    const value = make("dd", "", text);
    value.title = text;
    value.dataset.fact = name;
    return make("div", "", make("dt", "", word(name)), value);
  });
}

/** @param {ApiKey} key */
function acts(key) {
  /** @type {[Act, Key][]} */
  const offered = [["rotate", "keyRotate"], ["revoke", "keyRevoke"]];
  if (key.sessions > 0) offered.splice(1, 0, ["sign-out", "keySignOut"]);
  return offered.map(([act, label]) => {
    const button = make("button", `small quiet${act === "revoke" ? " danger" : ""}`, word(label));
    button.type = "button";
    button.dataset.act = act;
    button.setAttribute("aria-label", `${word(label)}: ${key.name}`);
    return button;
  });
}
