// @ts-check

/**
 * An element that index.html has.
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

/** A user's name: hostile text, so it is never markup and never turns the text around it. */
export function nameOf(/** @type {string} */ user) {
  const name = make("bdi", "", user);
  name.title = user;
  return name;
}

/** @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} tokenId */
export const tokenAddress = (tokenId) => `#token=${tokenId}`;
