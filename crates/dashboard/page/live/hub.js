// @ts-check
import { Stream } from "./stream.js";
/** @typedef {import("./stream.js").Message} Message */

/** Messages of a tab: it joins, it took a message, it leaves. */
/** @typedef {"join" | "got" | "bye"} Word */

/** Largest number of messages that a tab has not confirmed: some seconds' worth. */
export const PATIENCE = 300;
/** Time after which a tab that confirms nothing is forgotten, in milliseconds. */
const FORGET = 60_000;

/**
 * @typedef {{ patience?: number, forget?: number }} Limits
 * @typedef {{ owes: number, behind: boolean, heardAt: number }} Tab
 */

/**
 * Passes one stream on to many tabs. The stream runs while at least one tab is connected.
 *
 * A tab may be frozen for hours, or disappear without a message. Messages sent to it then wait in
 * memory, so the hub counts those that the tab confirmed. A tab that fell behind gets nothing until
 * it has taken all waiting messages, and then starts again from a fresh list.
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
    // Recent browsers report when the other side is gone.
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
      // If the tab is alive after all, its next message adds it as a new tab.
      this.#leave(port);
    }
  }
}
