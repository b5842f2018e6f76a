// @ts-check
import { word } from "../../words/language.js";
import { make, part } from "../dom.js";
import { actsOf } from "../edit/token_acts.js";
/** @typedef {import("../../live/pool.js").Token} Token */
/** @typedef {import("../edit/token_acts.js").TokenActs} TokenActs */

/** The menu with the acts on the token of a row. */
export class Menu {
  #acts;
  #open;
  #menu = part("table-menu");
  /** The button that opened it, which gets the focus again. @type {HTMLElement | null} */
  #from = null;

  /** @param {TokenActs} acts @param {(tokenId: string) => void} open */
  constructor(acts, open) {
    this.#acts = acts;
    this.#open = open;
    const menu = this.#menu;
    menu.addEventListener("keydown", (event) => this.#key(event));
    menu.addEventListener("focusout", ({ relatedTarget }) => {
      const inside = relatedTarget instanceof Node && menu.contains(relatedTarget);
      if (!inside) menu.hidden = true;
    });
    const leave = () => this.isOpen && this.#close();
    addEventListener("scroll", leave, { capture: true, passive: true });
    addEventListener("resize", leave);
  }

  get isOpen() {
    return !this.#menu.hidden;
  }

  /** @param {Token} token @param {HTMLElement} from */
  show(token, from) {
    this.#from = from;
    const items = [this.#item(word("tableOpen"), () => this.#open(token.id))];
    for (const act of actsOf(token)) {
      const item = this.#item(word(act), () => this.#acts.run(act, token.id));
      item.dataset.act = act;
      item.setAttribute("aria-disabled", String(!this.#acts.allows(act)));
      items.push(item);
    }
    const menu = this.#menu;
    menu.replaceChildren(...items);
    menu.setAttribute("aria-label", word("tableActsOf", { token: token.name }));
    menu.hidden = false;
    const { bottom, top, right } = from.getBoundingClientRect();
    const below = bottom + menu.offsetHeight < innerHeight;
    menu.style.top = `${below ? bottom : Math.max(0, top - menu.offsetHeight)}px`;
    menu.style.left = `${Math.max(8, right - menu.offsetWidth)}px`;
    items[0].focus();
  }

  /** @param {string} text @param {() => void} run */
  #item(text, run) {
    const item = make("button", "", text);
    item.type = "button";
    item.tabIndex = -1;
    item.setAttribute("role", "menuitem");
    item.addEventListener("click", () => {
      // The dialog returns the focus to the row when it closes.
      this.#close();
      run();
    });
    return item;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const items = /** @type {HTMLElement[]} */ ([...this.#menu.children]);
    const at = items.indexOf(/** @type {any} */ (document.activeElement));
    const last = items.length - 1;
    const next = { ArrowDown: at === last ? 0 : at + 1, ArrowUp: at <= 0 ? last : at - 1, Home: 0,
      End: last }[event.key];
    if (next !== undefined) items[next].focus();
    else if (event.key === "Escape" || event.key === "Tab") this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #close() {
    this.#menu.hidden = true;
    this.#from?.focus({ preventScroll: true });
  }
}
