// @ts-check
import { word } from "../words/language.js";
import { countdown } from "../words/time.js";
import { make, nameOf, setText } from "./dom.js";
import { tokenPath, tokenTitle } from "./links.js";
/** @typedef {import("../live/finder.js").Hit} Hit */

/** An item of a list that leads to a token of another pool. @param {Hit} hit @param {number} now */
export function hitItem(hit, now) {
  const link = make("a", "", make("span", "who"), make("span", "what"));
  link.href = tokenPath(hit.pool, hit.tokenId);
  link.dataset.tokenId = hit.tokenId;
  const item = make("li", "", link);
  sayHit(item, hit, now);
  return item;
}

/** @param {Element} item @param {Hit} hit @param {number} now */
export function sayHit(item, { pool, tokenName, user, note, expiresAt }, now) {
  const [who, what] = /** @type {HTMLCollection} */ (item.firstElementChild?.children);
  const title = tokenTitle(tokenName);
  if (who.textContent !== `${title} ${pool}`) {
    who.replaceChildren(title, " ", make("small", "", pool));
  }
  if (user === null || expiresAt === null || expiresAt <= now) {
    return setText(what, word("drawerFree"));
  }
  if (what.firstElementChild?.textContent !== user) {
    what.replaceChildren(nameOf(user), make("span"));
    if (note) what.setAttribute("title", note);
  }
  const left = word("left", { left: countdown(expiresAt - now) });
  setText(/** @type {Element} */ (what.lastElementChild), ` · ${left}`);
}
