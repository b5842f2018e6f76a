// @ts-check
import { part, setText } from "./dom.js";

/** How long a notice stays, in milliseconds. */
const STAYS = 10_000;

/** Into the dialog that was opened last, if there is one: the rest of the page is silent then.
 * @param {HTMLElement} element */
function toFront(element) {
  const open = document.querySelectorAll("dialog[open]");
  const front = open[open.length - 1] ?? document.body;
  if (element.parentElement !== front) front.append(element);
}

/** Says something to who can't see the page. @param {string} text */
export function announce(text) {
  const announcer = part("announcer");
  toFront(announcer);
  // The same words twice are news only if they were gone in between.
  announcer.textContent = "";
  setTimeout(() => (announcer.textContent = text), 50);
}

let leaves = 0;

/** Says something whose own place on the page is not to be seen any more. @param {string} text */
export function notify(text) {
  const notice = part("notice");
  toFront(notice);
  notice.hidden = false;
  setText(notice, text);
  announce(text);
  clearTimeout(leaves);
  leaves = window.setTimeout(() => (notice.hidden = true), STAYS);
}
