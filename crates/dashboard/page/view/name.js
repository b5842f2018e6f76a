// @ts-check
import { api } from "../live/api.js";
import { poolInPath } from "../live/where.js";
import { fillWords, onLanguage } from "../words/language.js";
import { make, part, setText } from "./dom.js";
import { redraw } from "./frames.js";
import { onBack } from "./problem.js";
/** @typedef {import("../live/live.js").Live} Live */

/** Name and description of the pool, the way back to all pools if there are others, and the message that no
 * pool has this name. @param {Live} live */
export function startName(live) {
  const draw = () => {
    const name = live.name ?? poolInPath() ?? "";
    setText(part("pool-name"), name);
    setText(part("pool-description"), live.info?.description ?? "");
    part("pool-description").title = live.info?.description ?? "";
    part("bar-pool").hidden = name === "";
    const unknown = live.why === "unknown-pool";
    part("main").hidden = unknown;
    part("unknown").hidden = !unknown;
    if (unknown) fillWords(part("unknown-title"), "unknownPoolTitle", { pool: make("bdi", "", name) });
  };
  const lookForOthers = async () => {
    try {
      part("bar-pools").hidden = !await api.hasOthers();
    } catch {
      // The next connection asks again.
    }
  };
  for (const kind of ["info", "state"]) live.addEventListener(kind, () => redraw(draw));
  onBack(live, lookForOthers);
  onLanguage(draw);
  draw();
}
