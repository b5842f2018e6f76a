// @ts-check
import { part } from "./dom.js";

/** Says something to who can't see the page. @param {string} text */
export function announce(text) {
  const announcer = part("announcer");
  // The same words twice are news only if they were gone in between.
  announcer.textContent = "";
  setTimeout(() => (announcer.textContent = text), 50);
}
