// @ts-check
import { isolated, onLanguage, word } from "../../words/language.js";
import { copies } from "../copy.js";
import { part, setText } from "../dom.js";
/** @typedef {import("../../live/shape.js").ApiKey} ApiKey */
/** @typedef {import("../../words/language.js").Key} Key */
/** @typedef {{ title: Key, key: ApiKey, secret: string, isSignedIn: boolean }} Shown */

/** Shows a new secret, once. Only its button closes the dialog, since the secret can't be read again. */
export class SecretDialog {
  #dialog = part("secret-dialog", HTMLDialogElement);
  /** @type {Shown | null} */
  #shown = null;
  #then = () => {};

  constructor() {
    const dialog = this.#dialog;
    copies(part("secret-copy", HTMLButtonElement), () => this.#shown?.secret ?? "");
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    part("secret-done").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      this.#shown = null;
      setText(part("secret-text"), "");
      this.#then();
    });
    addEventListener("beforeunload", (event) => dialog.open && event.preventDefault());
    onLanguage(() => this.#draw());
  }

  /** @param {Shown} shown @param {() => void} then called when it was closed */
  show(shown, then) {
    this.#shown = shown;
    this.#then = then;
    this.#draw();
    this.#dialog.showModal();
    part("secret-title").focus();
  }

  #draw() {
    if (!this.#shown) return;
    const { title, key, secret, isSignedIn } = this.#shown;
    setText(part("secret-title"), word(title, { key: isolated(key.name) }));
    setText(part("secret-text"), secret);
    part("secret-signed-in").hidden = !isSignedIn;
  }
}
