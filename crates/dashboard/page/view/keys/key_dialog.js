// @ts-check
import { Problem } from "../../live/api.js";
import { caller, RIGHTS } from "../../live/caller.js";
import { clock } from "../../live/clock.js";
import { parseDuration } from "../../words/duration.js";
import { onLanguage, word } from "../../words/language.js";
import { dayAndTime } from "../../words/time.js";
import { make, part, setText } from "../dom.js";
import { Form, Mistake } from "../edit/form.js";
/** @typedef {import("../../live/keys.js").Keys} Keys */
/** @typedef {import("../../live/keys.js").KeyRequest} KeyRequest */
/** @typedef {import("../../live/shape.js").Rights} Rights */
/** @typedef {import("./secret_dialog.js").SecretDialog} SecretDialog */

/** Longest life of a key that expires, in milliseconds: ten years. */
const LONGEST = 3650 * 86_400_000;
const NAME = /^[0-9A-Za-z]([0-9A-Za-z._-]{0,61}[0-9A-Za-z])?$/;
const MOST = 1_000_000;
/** Fields that are fixed for the first key, with their values. */
const FIRST = { "key-pools": "*", "key-users": "*", "key-expires": "" };

/** The dialog that creates an API key. */
export class KeyDialog {
  #keys;
  #secret;
  #then;
  #form;
  /** Whether the server has no key yet. */
  #isFirst = false;

  /** @param {Keys} keys @param {SecretDialog} secret @param {() => Promise<void>} then called after a
   * key was created */
  constructor(keys, secret, then) {
    this.#keys = keys;
    this.#secret = secret;
    this.#then = then;
    part("key-rights").append(...RIGHTS.map(choice));
    this.#form = new Form("key", {
      label: () => "keyCreate",
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
    part("key-form").addEventListener("input", () => this.#draw());
    onLanguage(sayChoices);
    sayChoices();
  }

  open() {
    this.#isFirst = !caller.who.keysExist;
    for (const id of ["key-name", "key-pools", "key-users", "key-expires", "key-leases", "key-rate"]) {
      input(id).value = "";
    }
    for (const [id, value] of Object.entries(FIRST)) {
      if (this.#isFirst) input(id).value = value;
      input(id).disabled = this.#isFirst;
    }
    for (const right of RIGHTS) {
      input(`key-rights-${right}`).checked = right === (this.#isFirst ? "admin" : "use");
      input(`key-rights-${right}`).disabled = this.#isFirst;
    }
    this.#form.open("key-name");
  }

  /** @returns {Rights} */
  get #rights() {
    return RIGHTS.find((right) => input(`key-rights-${right}`).checked) ?? "read";
  }

  #draw() {
    part("key-first").hidden = !this.#isFirst;
    // A key that only reads acts for no user.
    input("key-users").disabled = this.#isFirst || this.#rights === "read";
    const ms = parseDuration(input("key-expires").value);
    setText(part("key-expires-time"), ms === undefined ? ""
      : word("taintUntil", { time: dayAndTime(clock.now() + ms) }));
  }

  async #submit() {
    const wanted = this.#request();
    // The first key ends what this page may do without one.
    const release = caller.hold();
    try {
      const { key, secret } = await this.#keys.create(wanted);
      const isSignedIn = this.#isFirst && await signedIn(secret);
      this.#form.close();
      this.#secret.show({ title: "secretCreated", key, secret, isSignedIn }, () => {
        void release();
        void this.#then();
      });
      return null;
    } catch (error) {
      void release();
      const isTaken = error instanceof Problem && error.code === "name-taken";
      throw isTaken ? new Mistake("keyNameTaken", { name: wanted.name }, "key-name") : error;
    }
  }

  /** @returns {KeyRequest} */
  #request() {
    const name = input("key-name").value.trim();
    if (!NAME.test(name)) throw new Mistake("keyNameWrong", {}, "key-name");
    const rights = this.#rights;
    const [pools, users] = [namesIn("key-pools"), rights === "read" ? [] : namesIn("key-users")];
    if (pools.length === 0) throw new Mistake("keyPoolsNone", {}, "key-pools");
    if (rights === "use" && users.length === 0) throw new Mistake("keyUsersNone", {}, "key-users");
    const length = lengthIn("key-expires", LONGEST);
    if (length === 0) throw new Mistake("lengthWrong", { max: "3650d" }, "key-expires");
    return { name, rights, pools, users, ...(length && { expires_in_seconds: length / 1000 }),
      ...count("max_leases", "key-leases"), ...count("max_requests_per_second", "key-rate") };
  }
}

/** @param {string} id */
const input = (id) => part(id, HTMLInputElement);

/** Signs in with the first key, unless the server still knows the caller. @param {string} secret */
async function signedIn(secret) {
  try {
    if ((await caller.ask()).rights !== null) return false;
    await caller.signIn({ key: secret });
    return true;
  } catch {
    // The page asks for the key, which is shown now.
    return false;
  }
}

/** @param {Rights} right */
function choice(right) {
  const radio = make("input");
  radio.type = "radio";
  radio.name = "key-rights";
  radio.id = `key-rights-${right}`;
  radio.value = right;
  return make("label", "choice", radio, make("b"), make("span"));
}

function sayChoices() {
  for (const right of RIGHTS) {
    const [, name, text] = /** @type {HTMLElement} */ (input(`key-rights-${right}`).parentElement).children;
    setText(name, word(`rights-${right}`));
    setText(text, word(`rightsMean-${right}`));
  }
}

/** Names in a field, which commas or spaces separate. @param {string} id */
function namesIn(id) {
  const names = input(id).value.split(/[\s,]+/).filter((name) => name !== "");
  const wrong = names.find((name) => /\*./.test(name));
  if (wrong) throw new Mistake("keyStarWrong", { name: wrong }, id);
  return [...new Set(names)];
}

/** @param {string} id @param {number} most in milliseconds @returns {number | undefined} undefined if the
 * field is empty */
export function lengthIn(id, most) {
  const text = input(id).value.trim();
  if (text === "") return undefined;
  const ms = parseDuration(text);
  if (ms === undefined || ms > most) throw new Mistake("lengthWrong", { max: `${most / 86_400_000}d` }, id);
  return ms;
}

/** @param {"max_leases" | "max_requests_per_second"} member @param {string} id */
function count(member, id) {
  const text = input(id).value.trim();
  if (text === "") return {};
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= MOST) return { [member]: value };
  throw new Mistake("editUserWrong", { most: MOST }, id);
}
