// @ts-check
import { timeLeft } from "../../live/pool_list.js";
import { poolPath } from "../../live/where.js";
import { number, word } from "../../words/language.js";
import { countdown } from "../../words/time.js";
import { make, setText } from "../dom.js";
/** @typedef {import("../../live/pool_list.js").PoolRow} PoolRow */

/** @type {Record<PoolRow["policy"]["when_full"], "fullEvict" | "fullReject" | "fullWait">} */
const WHEN_FULL = { "evict-oldest": "fullEvict", reject: "fullReject", wait: "fullWait" };

/** Time left until a pool's next deadline. @param {PoolRow} row @param {number} now */
function deadlineWords(row, now) {
  const left = timeLeft(row, now);
  return row.deadline === null ? "–" : left === null ? "…" : countdown(left);
}

/** @param {string} kind @param {string} [role] @param {(Node | string)[]} parts */
function cell(kind, role = "cell", ...parts) {
  const element = make("div", `pool-${kind}`, ...parts);
  element.setAttribute("role", role);
  return element;
}

/** A number with the name of its column, which is seen only where the columns have no heads. */
class Count {
  #value = make("span", "value");
  #label = make("span", "label");
  #key;

  /** @param {"available" | "tainted" | "waiting"} key */
  constructor(key) {
    this.#key = key;
    this.cell = cell(`count ${key}`, "cell", this.#value, " ", this.#label);
  }

  /** @param {number} count */
  draw(count) {
    setText(this.#value, number(count));
    setText(this.#label, word(this.#key));
    this.cell.classList.toggle("zero", count === 0);
  }
}

/** A pool in the list. */
export class Row {
  element = make("div", "pool");
  link = make("a");
  #name = make("bdi");
  #description = make("span", "pool-text");
  #active = make("i", "active");
  #tainted = make("i", "tainted");
  #figure = make("span", "pool-figure");
  #available = new Count("available");
  #taints = new Count("tainted");
  #waiting = new Count("waiting");
  #left = make("span", "value");
  #leftLabel = make("span", "label");
  #full = make("span");

  /** @param {string} name */
  constructor(name) {
    this.link.append(this.#name);
    this.link.tabIndex = -1;
    const bar = make("span", "pool-bar", this.#active, this.#tainted);
    bar.ariaHidden = "true";
    this.element.setAttribute("role", "row");
    this.element.append(
      cell("name", "rowheader", this.link, this.#description),
      cell("used", "cell", bar, this.#figure),
      this.#available.cell, this.#taints.cell, this.#waiting.cell,
      cell("deadline", "cell", this.#left, " ", this.#leftLabel),
      cell("full", "cell", this.#full));
    this.showPool(name);
  }

  /** Makes it the row of another pool: that costs less than another row. @param {string} name */
  showPool(name) {
    this.link.href = poolPath(name);
    this.#name.textContent = name;
    this.element.dataset.pool = name;
    return this;
  }

  /** @param {PoolRow} row @param {number} now */
  draw(row, now) {
    const { size, active, tainted } = row;
    setText(this.#description, row.description);
    this.#description.title = row.description;
    this.#active.style.width = `${(size && active / size) * 100}%`;
    this.#tainted.style.width = `${(size && tainted / size) * 100}%`;
    setText(this.#figure, word("usedOf", { active, size }));
    this.#available.draw(row.available);
    this.#taints.draw(tainted);
    this.#waiting.draw(row.waiting);
    setText(this.#left, deadlineWords(row, now));
    setText(this.#leftLabel, word("columnDeadline"));
    this.#left.parentElement?.classList.toggle("zero", row.deadline === null);
    setText(this.#full, word(WHEN_FULL[row.policy.when_full]));
    this.element.classList.toggle("full", size > 0 && row.available === 0);
  }

  /** @param {number} index @param {number} height */
  place(index, height) {
    this.element.style.transform = `translateY(${index * height}px)`;
    // The row of the column heads is the first.
    this.element.ariaRowIndex = String(index + 2);
  }
}
