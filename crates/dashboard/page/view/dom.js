// @ts-check

/**
 * Returns an element of the document.
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {abstract new (...args: any[]) => T} [type]
 * @returns {T}
 */
export function part(id, type) {
  const found = document.getElementById(id);
  if (found === null || (type && !(found instanceof type))) throw new Error(`no #${id}`);
  return /** @type {any} */ (found);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {string} [className] @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A user's name. It may be hostile: it never becomes markup, nor turns the text around it. */
export function nameOf(/** @type {string} */ user) {
  const name = make("bdi", "", user);
  name.title = user;
  return name;
}

/** @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The address of a token on its pool's page. @param {string} token its name or id */
export const tokenAddress = (token) => `#token=${encodeURIComponent(token)}`;

/**
 * Closes a dialog on a click beside it. Both ends of the click count: a selection of text in it may
 * end outside.
 * @param {HTMLDialogElement} dialog @param {() => void} close
 */
export function onBackdrop(dialog, close) {
  let down = false;
  const beside = (/** @type {MouseEvent} */ { target, clientX: x, clientY: y }) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    return target === dialog && (x < left || x > right || y < top || y > bottom);
  };
  dialog.addEventListener("pointerdown", (event) => (down = beside(event)));
  dialog.addEventListener("click", (event) => {
    if (down && beside(event)) close();
    down = false;
  });
}

/**
 * Makes these the children of a list. Existing children stay untouched, so that an element about to
 * be pressed, or with the focus, does not disappear.
 * @param {Element} list @param {Element[]} items in their fixed order
 */
export function arrange(list, items) {
  const wanted = new Set(items);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  items.forEach((item, i) => {
    if (list.children[i] !== item) list.insertBefore(item, list.children[i] ?? null);
  });
}
