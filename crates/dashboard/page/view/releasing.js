// @ts-check
import { fillWords, onLanguage, word } from "../words/language.js";
import { nameOf, onBackdrop, part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/pool.js").Token} Token */
/** @typedef {import("../live/shape.js").Lease} Lease */

/**
 * The confirmation before another user's lease is released.
 * @param {Live} live
 * @returns {(token: Token, lease: Lease) => Promise<boolean>} whether to release it
 */
export function startReleasing(live) {
  const dialog = part("release-dialog", HTMLDialogElement);
  const confirm = part("release-confirm");
  /** @type {{ token: Token, lease: Lease } | null} */
  let asked = null;
  /** @type {(yes: boolean) => void} */
  let answer = () => {};
  let key = "";

  const isOver = () => {
    const token = asked && live.pool.token(asked.token.id);
    return token?.lease?.id !== asked?.lease.id
      || live.pool.holder(/** @type {Token} */ (token), shownTime(live)) === null;
  };
  const draw = () => {
    if (!dialog.open || !asked) return;
    const { token, lease } = asked;
    const now = `${lease.id} ${document.documentElement.lang}`;
    if (now !== key) {
      key = now;
      setText(part("release-title"), word("releaseTitle", { number: token.name }));
      fillWords(part("release-whose"), "releaseWhose", { user: nameOf(lease.user) });
    }
    setText(part("release-over"), isOver() ? word("releaseOver") : "");
    confirm.setAttribute("aria-disabled", String(isOver()));
  };
  const close = (/** @type {boolean} */ yes) => {
    dialog.close();
    asked = null;
    answer(yes);
  };

  part("release-cancel").addEventListener("click", () => close(false));
  confirm.addEventListener("click", () => isOver() || close(true));
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close(false);
  });
  onBackdrop(dialog, () => close(false));
  for (const kind of ["pool", "state"]) live.addEventListener(kind, () => redraw(draw));
  withTime(draw);
  onLanguage(draw);

  return (token, lease) => new Promise((resolve) => {
    answer(false);
    asked = { token, lease };
    answer = resolve;
    key = "";
    dialog.showModal();
    draw();
    part("release-cancel").focus();
  });
}
