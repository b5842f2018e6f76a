// @ts-check
import { api } from "../live/api.js";
import { caller } from "../live/caller.js";
import { fillWords, number, onLanguage, word } from "../words/language.js";
import { timeOfDay } from "../words/time.js";
import { announce, notify } from "./announcer.js";
import { make, onBackdrop, part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
import { isOfConnection, onBack, problemWords } from "./problem.js";
/** @typedef {import("../live/live.js").Live} Live */

/** The dialog that ends all leases. @param {Live} live */
export function startClearing(live) {
  part("clear").hidden = !caller.may("operate");
  const dialog = part("clear-dialog", HTMLDialogElement);
  const confirm = part("clear-confirm");
  const count = make("strong");
  count.id = "clear-count";
  let busy = false;
  let key = "";
  /** @type {unknown} */
  let failure = null;
  const fail = (/** @type {unknown} */ problem) => {
    failure = problem;
    setText(part("clear-error"), problem ? problemWords(problem) : "");
  };

  const nothing = () => live.state === "live" && live.pool.counts(shownTime(live)).active === 0;
  const draw = () => {
    if (!dialog.open) return;
    const { active } = live.pool.counts(shownTime(live));
    const words = active === 0 ? "clearNone" : "clearCount";
    setText(count, number(active));
    const now = `${words} ${active} ${document.documentElement.lang}`;
    if (now !== key) {
      key = now;
      fillWords(part("clear-sentence"), words, { count }, active);
    }
    setText(confirm, word(busy ? "clearBusy" : "clearConfirm"));
    // Without a lease to end it is disabled: a lease that another user gets at this moment is not
    // one that the dialog asked about.
    confirm.setAttribute("aria-disabled", String(busy || nothing()));
    setText(part("clear-old"), live.state === "live" ? ""
      : word("clearOld", { time: timeOfDay(shownTime(live)) }));
  };

  part("clear").addEventListener("click", () => {
    fail(null);
    dialog.showModal();
    draw();
    part("clear-cancel").focus();
  });
  part("clear-cancel").addEventListener("click", () => dialog.close());
  onBackdrop(dialog, () => dialog.close());
  confirm.addEventListener("click", async () => {
    if (busy || nothing()) return;
    busy = true;
    fail(null);
    draw();
    try {
      announce(word("cleared", { count: await api.clear() }));
      dialog.close();
    } catch (error) {
      if (dialog.open) fail(error);
      else notify(problemWords(error));
    }
    busy = false;
    draw();
  });
  onBack(live, () => isOfConnection(failure) && fail(null));
  for (const kind of ["pool", "state"]) live.addEventListener(kind, () => redraw(draw));
  withTime(draw);
  onLanguage(draw);
}
