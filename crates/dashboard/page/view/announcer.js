// @ts-check
import { part, setText } from "./dom.js";

/** Time that a notice stays, in milliseconds. */
const STAYS = 10_000;

/** Moves an element into the last opened dialog, if any: the rest of the page is silent then.
 * @param {HTMLElement} element */
function toFront(element) {
  const open = document.querySelectorAll("dialog[open]");
  const front = open[open.length - 1] ?? document.body;
  if (element.parentElement !== front) front.append(element);
}

/** Announces a text to screen readers. @param {string} text */
export function announce(text) {
  const announcer = part("announcer");
  toFront(announcer);
  // Screen readers repeat the same words only if these disappeared in between.
  announcer.textContent = "";
  setTimeout(() => (announcer.textContent = text), 50);
}

let leaves = 0;

/** Shows a text whose own place on the page is no longer visible. @param {string} text */
export function notify(text) {
  const notice = part("notice");
  toFront(notice);
  notice.hidden = false;
  setText(notice, text);
  announce(text);
  clearTimeout(leaves);
  leaves = window.setTimeout(() => (notice.hidden = true), STAYS);
}
