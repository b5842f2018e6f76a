// @ts-check
import { caller } from "../live/caller.js";
import { fillWords, onLanguage, word } from "../words/language.js";
import { countdown } from "../words/time.js";
import { copies } from "./copy.js";
import { make, nameOf, part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { Grid } from "./grid.js";
import { startHint } from "./hint.js";
import { TokenMap } from "./map.js";
import { evicts, shownTime } from "./moment.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */

/** Largest number of tokens shown as buttons; more are a map. */
const BUTTONS = 2000;

/**
 * The tokens, as buttons or as a map, depending on their number.
 * @param {Live} live
 * @param {(tokenId: string) => void} open
 */
export function startTokens(live, open) {
  const grid = new Grid(live, part("grid"), open);
  const map = new TokenMap(live, open);
  /** @type {Set<number> | null} */
  let changed = null;
  /** @type {Token[]} */
  let built = [];
  /** @type {((token: Token) => boolean) | null} */
  let filter = null;

  const shown = () => (live.pool.tokens.length > BUTTONS ? map : grid);
  const build = () => {
    built = live.pool.tokens;
    const asMap = shown() === map;
    part("grid").hidden = asMap;
    part("map-frame").hidden = !asMap;
    part("grid").setAttribute("aria-busy", "false");
    part("grid-loading").hidden = true;
    if (asMap) part("grid").replaceChildren();
    shown().build();
    shown().show(filter);
  };
  const draw = () => {
    if (live.pool.tokens !== built && !sameTokens(live.pool.tokens, built)) build();
    else shown().draw(changed && [...changed]);
    built = live.pool.tokens;
    changed = new Set();
    drawGuide(live);
  };
  const guide = () => drawGuide(live);
  const drawAll = () => {
    changed = null;
    redraw(draw);
  };

  live.addEventListener("pool", (event) => {
    const { positions } = /** @type {CustomEvent} */ (event).detail;
    if (positions === null) changed = null;
    else for (const position of positions) changed?.add(position);
    redraw(draw);
  });
  for (const kind of ["state", "info"]) live.addEventListener(kind, drawAll);
  live.addEventListener("series", () => redraw(guide));
  onLanguage(() => {
    if (live.pool.tokens.length > 0) build();
    drawGuide(live);
  });
  withTime(() => {
    shown().drawTime();
    drawGuide(live);
  });
  startHint(live);
  startGuide(live, (token) => shown().focus(token.position));
  return {
    /** @param {((token: Token) => boolean) | null} wanted */
    show(wanted) {
      filter = wanted;
      shown().show(filter);
    },
  };
}

/** Whether two lists have the same tokens, names and labels: a list read again has new objects, but the
 * buttons may stay.
 * @param {Token[]} one @param {Token[]} other */
function sameTokens(one, other) {
  const asButtons = one.length <= BUTTONS;
  return one.length === other.length && one.every(({ id, name, labels }, i) => (
    id === other[i].id && name === other[i].name
    && (!asButtons || JSON.stringify(labels) === JSON.stringify(other[i].labels))));
}

/** @param {Live} live @param {(token: Token) => void} goTo */
function startGuide(live, goTo) {
  for (const kind of ["expire", "evict"]) {
    part(`callout-${kind}`).addEventListener("click", ({ target }) => {
      const link = target instanceof Element ? target.closest("button") : null;
      const token = live.pool.token(link?.dataset.tokenId ?? "");
      if (token) goTo(token);
    });
  }
  copies(part("empty-copy", HTMLButtonElement), () => part("empty-curl").textContent ?? "");
}

/** A command that allocates. @param {Live} live */
function exampleOf({ name }) {
  const { origin } = location;
  const key = caller.who.keyId === null ? "" : ` -H "authorization: Bearer $TOKEN_MANAGER_KEY"`;
  return name === "default" ? `curl${key} -d user_id=ann ${origin}/api/tokens/allocate`
    : `curl${key} --json '{"user": "ann"}' ${origin}/api/pools/${name}/allocate`;
}

/** The next expiry and eviction in words, and the guide for an empty pool. @param {Live} live */
function drawGuide(live) {
  const now = shownTime(live);
  drawCallout(live, "expire", live.pool.nextToExpire(now));
  drawCallout(live, "evict", evicts(live) ? live.pool.nextToEvict(now) : null);
  part("legend-off").hidden = !live.pool.marked;
  const none = live.info?.size === 0;
  if (none) part("grid-loading").hidden = true;
  const unused = live.state === "live" && live.used === false && caller.may("use");
  part("empty").hidden = !none && !unused;
  part("empty").dataset.why = none ? "no-tokens" : "unused";
  part("empty-acts").hidden = !none;
  part("empty-command").hidden = none && !caller.may("admin");
  setText(part("empty-title"), word(none ? "noTokensTitle" : "emptyTitle"));
  setText(part("empty-text"), word(!none ? "emptyText" : !caller.may("admin") ? "noTokensReader"
    : live.info?.policy.membership === "fixed" ? "noTokensFixed" : "noTokensOpen"));
  setText(part("empty-curl"), none ? "token-manager apply -f pools.toml" : exampleOf(live));
}

/** @param {Live} live @param {"expire" | "evict"} kind @param {Token | null} token */
function drawCallout(live, kind, token) {
  const callout = part(`callout-${kind}`);
  const lease = token?.lease;
  let link = callout.querySelector("button");
  if (!token || !lease) {
    if (link && link === document.activeElement) part("tokens").focus({ preventScroll: true });
    return callout.replaceChildren();
  }
  const key = `${token.id} ${lease.fence} ${document.documentElement.lang}`;
  if (callout.dataset.key !== key || !link) {
    callout.dataset.key = key;
    // The button stays the same, since it may have the focus.
    if (!link) {
      link = make("button", "link");
      link.type = "button";
      callout.replaceChildren(make("i", `mark ${kind}`), make("span"), link,
        make("span", "callout-left"));
    }
    link.dataset.tokenId = token.id;
    fillWords(link, "calloutHolder", {
      user: nameOf(lease.user),
      token: word("tokenInText", { number: token.name }),
    });
    setText(callout.children[1], word(kind === "expire" ? "calloutExpire" : "calloutEvict"));
  }
  const left = word("left", { left: countdown(lease.expiresAt - live.clock.now()) });
  setText(/** @type {Element} */ (callout.lastElementChild), kind === "expire" ? left : "");
}
