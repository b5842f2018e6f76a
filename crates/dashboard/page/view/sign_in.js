// @ts-check
import { Problem } from "../live/api.js";
import { mistakeIn } from "../live/key_text.js";
import { onLanguage, word } from "../words/language.js";
import { part, setText } from "./dom.js";
import { problemWords } from "./problem.js";
/** @typedef {import("../live/caller.js").Caller} Caller */
/** @typedef {import("../words/language.js").Key} Key */

/** A mistake in the key, found before it is sent. */
class KeyMistake extends Error {
  /** @param {Key} key */
  constructor(key) {
    super();
    this.key = key;
  }
}

/** The form that exchanges a key for a session. It takes the place of the page's content. */
export class SignIn {
  #caller;
  #done;
  #section = part("sign-in");
  #field = part("sign-in-key", HTMLInputElement);
  #busy = false;
  /** Why the page asks for a key. @type {Key | null} */
  #why = null;
  /** @type {unknown} */
  #failure = null;
  /** Whether the failure is about a code, not about a key. */
  #ofCode = false;

  /** @param {Caller} caller @param {() => void} done called when the browser is signed in */
  constructor(caller, done) {
    this.#caller = caller;
    this.#done = done;
    part("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.#field.addEventListener("input", () => this.#fail(null));
    part("sign-in-cancel").addEventListener("click", () => this.#hide());
    onLanguage(() => this.#draw());
  }

  /** @param {Key | null} why @param {boolean} [mayLeave] whether the page has something else to show */
  show(why, mayLeave = false) {
    this.#why = why;
    this.#section.hidden = false;
    document.documentElement.dataset.access = "asked";
    part("sign-in-cancel").hidden = !mayLeave;
    this.#draw();
    (this.#isProtected ? this.#field : part("sign-in-title")).focus();
  }

  #hide() {
    this.#section.hidden = true;
    delete document.documentElement.dataset.access;
    this.#field.value = "";
    this.#fail(null);
    part("account").focus();
  }

  /** Whether no one between browser and server can read a key. */
  get #isProtected() {
    return isSecureContext;
  }

  #draw() {
    const [why, failure] = [this.#why, this.#failure];
    setText(part("sign-in-why"), why ? word(why) : "");
    const words = !this.#isProtected ? word("signInPlain")
      : !failure ? "" : failure instanceof KeyMistake ? word(failure.key)
        : !(failure instanceof Problem) || failure.code !== "unauthenticated" ? problemWords(failure, true)
          : word(this.#ofCode ? "signInCodeWrong" : "signInWrong");
    setText(part("sign-in-error"), words);
    this.#field.disabled = !this.#isProtected;
    this.#field.setAttribute("aria-invalid", String(failure !== null && !this.#ofCode));
    setText(part("sign-in-submit"), word(this.#busy ? "signInBusy" : "signIn"));
    part("sign-in-submit").setAttribute("aria-disabled", String(this.#busy || !this.#isProtected));
  }

  /** @param {unknown} failure */
  #fail(failure) {
    if (failure === null && this.#failure === null) return;
    this.#failure = failure;
    this.#draw();
  }

  async #submit() {
    if (this.#busy || !this.#isProtected) return;
    const key = this.#field.value.trim();
    const mistake = key === "" ? "signInEmpty" : MISTAKES[mistakeIn(key) ?? "none"];
    this.#ofCode = false;
    if (mistake) {
      this.#fail(new KeyMistake(mistake));
      return this.#field.focus();
    }
    this.#busy = true;
    this.#failure = null;
    this.#draw();
    try {
      await this.#caller.signIn({ key });
      this.#field.value = "";
      this.#done();
    } catch (error) {
      this.#field.value = "";
      this.#failure = error;
      this.#field.focus();
    }
    this.#busy = false;
    this.#draw();
  }

  /** Exchanges a code for a session. @param {string} code @returns {Promise<boolean>} whether it was valid */
  async redeem(code) {
    try {
      await this.#caller.signIn({ code });
      return true;
    } catch (error) {
      this.#failure = error;
      this.#ofCode = true;
      return false;
    }
  }
}

/** @type {Record<"form" | "typo" | "none", Key | null>} */
const MISTAKES = { form: "signInForm", typo: "signInTypo", none: null };
