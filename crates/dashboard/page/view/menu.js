// @ts-check
import { make, part } from "./dom.js";

/** @typedef {{ text: string, run: () => void, act?: string, off?: boolean }} Item `off`: shown, but it
 * only says why it is not possible */

/** A menu of acts below a button. The page has one, since only one is open at a time. */
class Menu {
  #menu = part("menu");
  /** The button that opened it, which gets the focus again. @type {HTMLElement | null} */
  #from = null;
  /** Where that button was. */
  #top = 0;

  constructor() {
    const menu = this.#menu;
    menu.addEventListener("keydown", (event) => this.#key(event));
    menu.addEventListener("focusout", ({ relatedTarget }) => {
      const inside = relatedTarget instanceof Node && menu.contains(relatedTarget);
      if (!inside) menu.hidden = true;
    });
    // A scroll may have begun before the menu was opened, and then leaves the button where it is.
    const leave = () => {
      if (this.isOpen && this.#from?.getBoundingClientRect().top !== this.#top) this.#close();
    };
    addEventListener("scroll", leave, { capture: true, passive: true });
    addEventListener("resize", leave);
  }

  get isOpen() {
    return !this.#menu.hidden;
  }

  /** @param {string} label @param {Item[]} items @param {HTMLElement} from the button below it */
  show(label, items, from) {
    this.#from = from;
    const menu = this.#menu;
    menu.replaceChildren(...items.map((item) => this.#make(item)));
    menu.setAttribute("aria-label", label);
    menu.hidden = false;
    const { bottom, top, right } = from.getBoundingClientRect();
    this.#top = top;
    const below = bottom + menu.offsetHeight < innerHeight;
    menu.style.top = `${below ? bottom : Math.max(0, top - menu.offsetHeight)}px`;
    menu.style.left = `${Math.max(8, right - menu.offsetWidth)}px`;
    /** @type {HTMLElement} */ (menu.firstElementChild).focus();
  }

  /** @param {Item} item */
  #make({ text, run, act, off = false }) {
    const button = make("button", "", text);
    button.type = "button";
    button.tabIndex = -1;
    button.setAttribute("role", "menuitem");
    button.setAttribute("aria-disabled", String(off));
    if (act) button.dataset.act = act;
    button.addEventListener("click", () => {
      // A dialog that opens now returns the focus to the button when it closes.
      this.#close();
      run();
    });
    return button;
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

/** @type {Menu | undefined} */
let menu;
export const theMenu = () => (menu ??= new Menu());
