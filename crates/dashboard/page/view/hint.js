// @ts-check
import { word } from "../words/language.js";
import { countdown } from "../words/time.js";
import { make, part } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
import { labelOf, nextOf, offWords } from "./state.js";
/** @typedef {import("../live/live.js").Live} Live */

/** Details that a small cell can't show. They appear beside the cell with the pointer or the focus.
 * @param {Live} live */
export function startHint(live) {
  const hint = part("cell-hint");
  const grid = part("grid");
  /** @type {HTMLElement | null} */
  let cell = null;

  const draw = () => {
    const token = cell?.isConnected ? live.pool.tokens[Number(cell.dataset.position)] : undefined;
    hint.hidden = token === undefined;
    if (!cell || !token) return;
    const now = shownTime(live);
    const lease = live.pool.holder(token, now);
    const next = lease ? nextOf(live, token, now) : "";
    const line = [word("token", { number: token.name })];
    if (lease) line.push(word("left", { left: countdown(lease.expiresAt - live.clock.now()) }));
    if (next.includes("expire")) line.push(word("nextToExpire"));
    if (next.includes("evict")) line.push(word("nextToEvict"));
    const off = offWords(token, now);
    const parts = [make("bdi", "who", lease ? lease.user : off || word("drawerFree")), line.join(" · ")];
    if (lease && off) parts.push(make("span", "off", off));
    const labels = Object.entries(token.labels).map(labelOf).join(" · ");
    if (labels) parts.push(make("span", "labels", labels));
    if (token.note) parts.push(make("bdi", "note", token.note));
    hint.replaceChildren(...parts);
    place(hint, cell);
  };
  /** @param {EventTarget | null} target */
  const show = (target) => {
    const found = target instanceof Element ? target.closest(".cell") : null;
    if (found === cell) return;
    cell = /** @type {HTMLElement | null} */ (found);
    redraw(draw);
  };

  grid.addEventListener("pointerover", ({ target, pointerType }) => {
    if (pointerType === "mouse" && !showsAll(target)) show(target);
  });
  grid.addEventListener("pointerleave", () => show(null));
  grid.addEventListener("focusin", ({ target }) => {
    const seen = target instanceof Element && target.matches(":focus-visible");
    show(seen && !showsAll(target) ? target : null);
  });
  grid.addEventListener("focusout", () => show(null));
  addEventListener("scroll", () => {
    // Moving by the arrow keys also scrolls.
    if (cell === document.activeElement) redraw(draw);
    else show(null);
  }, { passive: true });
  addEventListener("keydown", ({ key }) => key === "Escape" && show(null));
  live.addEventListener("pool", () => cell && redraw(draw));
  withTime(() => cell && draw());
}

/** Whether a cell needs no hint: a card whose name is not cut off.
 * @param {EventTarget | null} target */
function showsAll(target) {
  const holder = target instanceof Element ? target.closest(".cell")?.querySelector(".cell-holder")
    : null;
  const cell = holder?.closest(".cell");
  if (!holder || !cell || part("grid").dataset.density !== "cards") return false;
  const more = cell.querySelector(".chip") || cell.getAttribute("data-off");
  const cut = [holder, cell.querySelector(".cell-number")].some((text) => (
    text && text.scrollWidth > text.clientWidth));
  return !more && !cut;
}

/** @param {HTMLElement} hint @param {HTMLElement} cell */
function place(hint, cell) {
  const at = cell.getBoundingClientRect();
  const { width, height } = hint.getBoundingClientRect();
  const x = Math.min(innerWidth - width - 8, Math.max(8, at.left + at.width / 2 - width / 2));
  const above = at.top - height - 8;
  hint.style.transform = `translate(${x}px, ${above > 8 ? above : at.bottom + 8}px)`;
}
