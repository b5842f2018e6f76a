// @ts-check
import { Stream } from "./stream.js";
/** @typedef {import("./stream.js").Message} Message */

/** What tabs say: that they are there, that they took a message, that they go. */
/** @typedef {"join" | "got" | "bye"} Word */

/** How many messages a tab may owe before nothing more is sent to it: some seconds' worth. */
export const PATIENCE = 300;
/** After how long a tab that takes nothing is forgotten, in milliseconds. */
const FORGET = 60_000;

/**
 * @typedef {{ patience?: number, forget?: number }} Limits
 * @typedef {{ owes: number, behind: boolean, heardAt: number }} Tab
 */

/**
 * Passes one stream on to many tabs. It runs while there is a tab.
 *
 * A tab may stand still for hours, or be gone without a word. Whatever is sent to it then waits in
 * memory, so what it took is counted. One that fell behind gets nothing until it has taken all that
 * waits for it, and then begins anew.
 */
export class Hub {
  #stream;
  #patience;
  #forget;
  /** @type {Map<MessagePort, Tab>} */
  #tabs = new Map();

  /** @param {ConstructorParameters<typeof Stream>[1] & Limits} [parts] */
  constructor(parts = {}) {
    this.#patience = parts.patience ?? PATIENCE;
    this.#forget = parts.forget ?? FORGET;
    this.#stream = new Stream((message) => this.#pass(message), parts);
  }

  get size() {
    return this.#tabs.size;
  }

  /** @param {MessagePort} port a new tab's */
  meet(port) {
    port.onmessage = ({ data }) => this.#hear(port, /** @type {Word} */ (data));
    // Young browsers tell when the other side is gone.
    port.addEventListener("close", () => this.#leave(port));
  }

  /**
   * @param {MessagePort} port
   * @param {Word} word
   */
  #hear(port, word) {
    if (word === "bye") return this.#leave(port);
    const tab = this.#tabs.get(port);
    if (word === "join" || tab === undefined) return this.#join(port);
    tab.owes -= 1;
    tab.heardAt = performance.now();
    if (tab.behind && tab.owes === 0) this.#join(port);
  }

  /** @param {MessagePort} port */
  #join(port) {
    const tab = { owes: 0, behind: false, heardAt: performance.now() };
    this.#tabs.set(port, tab);
    this.#stream.start();
    for (const message of this.#stream.greeting()) this.#post(port, tab, message);
  }

  /** @param {MessagePort} port */
  #leave(port) {
    this.#tabs.delete(port);
    if (this.#tabs.size === 0) this.#stream.stop();
  }

  /** @param {Message} message */
  #pass(message) {
    for (const [port, tab] of this.#tabs) this.#post(port, tab, message);
  }

  /**
   * @param {MessagePort} port
   * @param {Tab} tab
   * @param {Message} message
   */
  #post(port, tab, message) {
    if (tab.owes >= this.#patience) tab.behind = true;
    if (!tab.behind) {
      tab.owes += 1;
      port.postMessage(message);
    } else if (performance.now() - tab.heardAt > this.#forget) {
      // If it lives after all, its next word makes it a new one.
      this.#leave(port);
    }
  }
}
