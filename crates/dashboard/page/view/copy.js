// @ts-check
import { word } from "../words/language.js";
import { announce } from "./announcer.js";

/** Copies a text. Plain HTTP from another machine has no clipboard API, so the old way is used. */
async function put(/** @type {string} */ text, /** @type {Element} */ near) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden";
  // Beside the button: outside of an open dialog nothing can be selected.
  near.after(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("not copied");
}

/** @param {HTMLButtonElement} button @param {() => string} text */
export function copies(button, text) {
  let calm = 0;
  button.addEventListener("click", async () => {
    const outcome = await put(text(), button).then(() => word("copied"), () => word("copyFailed"));
    button.focus();
    button.textContent = outcome;
    announce(outcome);
    clearTimeout(calm);
    calm = window.setTimeout(() => (button.textContent = word("copy")), 2000);
  });
}
