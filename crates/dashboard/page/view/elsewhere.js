// @ts-check
import { api } from "../live/api.js";
import { Finder } from "../live/finder.js";
import { poolPath } from "../live/where.js";
import { onLanguage, word } from "../words/language.js";
import { make, setText } from "./dom.js";
import { hitItem, sayHit } from "./hits.js";
import { shownTime } from "./moment.js";
/** @typedef {import("../live/finder.js").Hit} Hit */
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {{ name: string, description: string, size: number }} OtherPool */

/** Maximum number of pools listed. */
const LISTED = 6;
/** How long the list of pools serves further searches, in milliseconds. */
const FRESH = 30_000;

/** The part of a search on a pool's page that concerns the other pools. */
export class Elsewhere {
  #live;
  #changed;
  #finder = new Finder();
  #heading = make("li", "group");
  /** @type {{ at: number, all: Promise<OtherPool[]> } | null} */
  #pools = null;
  #asked = 0;
  /** @type {HTMLElement[]} */
  #poolItems = [];
  /** @type {{ hit: Hit, item: HTMLElement }[]} */
  #hits = [];

  /** @param {Live} live @param {() => void} changed called when more was found */
  constructor(live, changed) {
    this.#live = live;
    this.#changed = changed;
    onLanguage(changed);
  }

  /** Forgets the results, and the search under way. */
  clear() {
    this.#asked += 1;
    this.#finder.stop();
    this.#poolItems = [];
    this.#hits = [];
  }

  /** @param {string} query */
  async find(query) {
    const asked = (this.#asked += 1);
    const others = await this.#others().catch(() => []);
    if (asked !== this.#asked || others.length === 0) return;
    const wanted = query.toLowerCase();
    const fits = (/** @type {OtherPool} */ { name, description }) =>
      name.includes(wanted) || description.toLowerCase().includes(wanted);
    this.#poolItems = others.filter(fits).slice(0, LISTED).map(poolItem);
    this.#changed();
    await this.#finder.find(query, others, ({ hits }) => {
      // Items stay the same, since one may have the focus.
      const known = new Map(this.#hits.map((one) => [one.hit.tokenId, one]));
      const now = shownTime(this.#live);
      this.#hits = hits.map((hit) =>
        known.get(hit.tokenId) ?? { hit, item: hitItem(hit, now) });
      this.#changed();
    });
  }

  /** The results as items of a list, with their heading. */
  items() {
    const items = [...this.#poolItems, ...this.#hits.map(({ item }) => item)];
    if (items.length === 0) return [];
    setText(this.#heading, word("searchElsewhere"));
    const now = shownTime(this.#live);
    for (const { hit, item } of this.#hits) sayHit(item, hit, now);
    for (const item of this.#poolItems) {
      setText(/** @type {Element} */ (item.querySelector(".kind")), word("searchPool"));
    }
    return [this.#heading, ...items];
  }

  /** All pools but that of the page. */
  async #others() {
    if (!this.#pools || performance.now() - this.#pools.at > FRESH) {
      const all = readPools();
      this.#pools = { at: performance.now(), all };
      all.catch(() => (this.#pools = null));
    }
    const pools = await this.#pools.all;
    return pools.filter(({ name }) => name !== this.#live.name);
  }
}

/** @returns {Promise<OtherPool[]>} */
async function readPools() {
  const pools = [];
  /** @type {string | null} */
  let path = "/api/pools";
  while (path !== null) {
    /** @type {{ body: any }} */
    const { body } = await api.request(path);
    pools.push(...body.pools);
    path = body.next;
  }
  return pools;
}

/** @param {OtherPool} pool */
function poolItem({ name, description }) {
  const kind = make("span", "kind");
  const link = make("a", "", make("span", "who", kind, " ", make("bdi", "", name)),
    make("span", "what", description));
  link.href = poolPath(name);
  link.dataset.pool = name;
  return make("li", "", link);
}
