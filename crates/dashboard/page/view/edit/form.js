// @ts-check
import { Problem } from "../../live/api.js";
import { onLanguage, word } from "../../words/language.js";
import { announce, notify } from "../announcer.js";
import { onBackdrop, part, setText } from "../dom.js";
import { problemWords } from "../problem.js";
/** @typedef {import("../../words/language.js").Key} Key */
/** @typedef {import("../../words/language.js").Values} Values */

/** A mistake in a field, found before anything is sent. */
export class Mistake extends Error {
  /** @param {Key} key @param {Values} values @param {string} [field] its id */
  constructor(key, values, field) {
    super(word(key, values));
    this.key = key;
    this.values = values;
    this.field = field;
  }
}

/** The reason why a change failed, with every mistake that the server found. @param {unknown} error */
export function failureWords(error) {
  if (error instanceof Mistake) return word(error.key, error.values);
  const findings = error instanceof Problem ? error.members.findings : undefined;
  if (!Array.isArray(findings) || findings.length === 0) return problemWords(error);
  const sentences = findings.map(({ token, field, rule }) =>
    [token, field, rule].filter(Boolean).join(": "));
  return `${sentences.join("; ")}.`;
}

/**
 * A dialog with a form that changes something. Its parts have the ids NAME-dialog, -form, -error,
 * -cancel and -submit.
 */
export class Form {
  #name;
  #dialog;
  #label;
  #submit;
  #draw;
  #busy = false;
  #off = false;
  /** Number of times that the dialog was opened: a late answer must not close it the next time. */
  #opened = 0;
  /** @type {unknown} */
  #failure = null;

  /**
   * @param {string} name
   * @param {{ label: () => Key, submit: () => Promise<string | null>, draw?: () => void }} parts
   *   `submit` makes the change and returns a sentence for the notice; `draw` draws the dialog again
   */
  constructor(name, { label, submit, draw = () => {} }) {
    this.#name = name;
    this.#dialog = part(`${name}-dialog`, HTMLDialogElement);
    this.#label = label;
    this.#submit = submit;
    this.#draw = draw;
    const form = part(`${name}-form`, HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.repeat) event.preventDefault();
    });
    form.addEventListener("input", () => this.fail(null));
    part(`${name}-cancel`).addEventListener("click", () => this.close());
    onBackdrop(this.#dialog, () => this.close());
    onLanguage(() => this.isOpen && this.draw());
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /** @param {string} focus id of the element that gets the focus */
  open(focus) {
    this.#opened += 1;
    this.#busy = false;
    this.#off = false;
    this.fail(null);
    this.#dialog.showModal();
    this.draw();
    part(focus).focus();
  }

  close() {
    this.#dialog.close();
  }

  /** Switches the submit button off, when there is nothing to change. @param {boolean} off */
  off(off) {
    this.#off = off;
    this.#drawSubmit();
  }

  draw() {
    this.#draw();
    this.#drawSubmit();
    setText(part(`${this.#name}-error`), this.#failure ? failureWords(this.#failure) : "");
  }

  #drawSubmit() {
    const submit = part(`${this.#name}-submit`);
    setText(submit, word(this.#busy ? "editBusy" : this.#label()));
    submit.setAttribute("aria-disabled", String(this.#busy || this.#off));
  }

  /** @param {unknown} failure */
  fail(failure) {
    this.#failure = failure;
    setText(part(`${this.#name}-error`), failure ? failureWords(failure) : "");
  }

  async #send() {
    if (this.#busy || this.#off) return;
    const opened = this.#opened;
    const shows = () => this.isOpen && this.#opened === opened;
    this.#busy = true;
    this.fail(null);
    this.#drawSubmit();
    try {
      const done = await this.#submit();
      if (shows()) this.close();
      if (done) notify(done);
    } catch (error) {
      if (shows()) this.fail(error);
      else notify(failureWords(error));
      if (shows() && error instanceof Mistake && error.field) part(error.field).focus();
    }
    if (this.#opened !== opened) return;
    this.#busy = false;
    this.#drawSubmit();
  }
}

/** Announces a text after a pause in which it does not change. */
export class Calm {
  #timer = 0;
  #said = "";

  /** @param {string} text */
  say(text) {
    clearTimeout(this.#timer);
    if (text === this.#said) return;
    this.#timer = window.setTimeout(() => {
      this.#said = text;
      announce(text);
    }, 1000);
  }
}
