// @ts-check
import { api } from "../live/api.js";
import { fillWords, onLanguage, word } from "../words/language.js";
import { announce } from "./announcer.js";
import { make, part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
import { problemWords } from "./problem.js";
/** @typedef {import("../live/live.js").Live} Live */

/** Ending all leases, after asking. @param {Live} live */
export function startClearing(live) {
  const dialog = part("clear-dialog", HTMLDialogElement);
  const confirm = part("clear-confirm");
  const count = make("strong");
  count.id = "clear-count";
  let busy = false;
  let key = "";

  const draw = () => {
    if (!dialog.open) return;
    const { active } = live.pool.counts(shownTime(live));
    const words = active === 0 ? "clearNone" : "clearCount";
    setText(count, String(active));
    const now = `${words} ${active} ${document.documentElement.lang}`;
    if (now !== key) {
      key = now;
      fillWords(part("clear-sentence"), words, { count }, active);
    }
    setText(confirm, word(busy ? "clearBusy" : "clearConfirm"));
    if (busy) confirm.setAttribute("aria-disabled", "true");
    else confirm.removeAttribute("aria-disabled");
  };

  part("clear").addEventListener("click", () => {
    setText(part("clear-error"), "");
    dialog.showModal();
    draw();
    part("clear-cancel").focus();
  });
  part("clear-cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target, clientX, clientY }) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const inside = clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
    if (target === dialog && !inside) dialog.close();
  });
  confirm.addEventListener("click", async () => {
    if (busy) return;
    busy = true;
    setText(part("clear-error"), "");
    draw();
    try {
      announce(word("cleared", { count: await api.clear() }));
      dialog.close();
    } catch (error) {
      setText(part("clear-error"), problemWords(error));
    }
    busy = false;
    draw();
  });
  live.addEventListener("pool", () => redraw(draw));
  withTime(draw);
  onLanguage(draw);
}
