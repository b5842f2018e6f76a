// @ts-check
import { caller } from "../../live/caller.js";
import { clock } from "../../live/clock.js";
import { parseDuration } from "../../words/duration.js";
import { word } from "../../words/language.js";
import { dayAndTime } from "../../words/time.js";
import { part, setText } from "../dom.js";
import { Form } from "../edit/form.js";
import { lengthIn } from "./key_dialog.js";
/** @typedef {import("../../live/keys.js").Keys} Keys */
/** @typedef {import("../../live/shape.js").ApiKey} ApiKey */
/** @typedef {import("./secret_dialog.js").SecretDialog} SecretDialog */

/** Longest time for which the old secret stays valid, in milliseconds. */
const LONGEST = 30 * 86_400_000;

/** The dialog that gives an API key a new secret. */
export class RotateDialog {
  #keys;
  #secret;
  #then;
  #form;
  /** @type {ApiKey | null} */
  #key = null;

  /** @param {Keys} keys @param {SecretDialog} secret @param {() => Promise<void>} then */
  constructor(keys, secret, then) {
    this.#keys = keys;
    this.#secret = secret;
    this.#then = then;
    this.#form = new Form("rotate", {
      label: () => "rotateSubmit",
      submit: () => this.#submit(),
      draw: () => this.#draw(),
    });
    part("rotate-keep").addEventListener("input", () => this.#draw());
  }

  /** @param {ApiKey} key */
  open(key) {
    this.#key = key;
    part("rotate-keep", HTMLInputElement).value = "";
    this.#form.open("rotate-keep");
  }

  #draw() {
    setText(part("rotate-title"), word("rotateTitle", { key: this.#key?.name ?? "" }));
    const ms = parseDuration(part("rotate-keep", HTMLInputElement).value);
    setText(part("rotate-until"), !ms ? word("rotateAtOnce")
      : word("taintUntil", { time: dayAndTime(clock.now() + ms) }));
  }

  async #submit() {
    const { id } = /** @type {ApiKey} */ (this.#key);
    const keep = lengthIn("rotate-keep", LONGEST) ?? 0;
    const release = caller.hold();
    try {
      const { key, secret } = await this.#keys.rotate(id, keep / 1000);
      this.#form.close();
      this.#secret.show({ title: "secretRotated", key, secret, isSignedIn: false }, () => {
        void release();
        void this.#then();
      });
      return null;
    } catch (error) {
      void release();
      throw error;
    }
  }
}
