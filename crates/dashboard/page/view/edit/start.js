// @ts-check
import { notify } from "../announcer.js";
import { AddDialog } from "./add_dialog.js";
import { DeleteDialog } from "./delete_dialog.js";
import { failureWords } from "./form.js";
import { startPoolDialog } from "./pool_dialog.js";
import { startDrawerActs, TokenActs } from "./token_acts.js";
/** @typedef {import("../../live/live.js").Live} Live */
/** @typedef {import("../../live/manage.js").Manage} Manage */

/**
 * Changes of a pool and its tokens, on the page of the pool. Buttons of the page have the acts in
 * `data-pool-act`: add, edit, delete.
 * @param {{ live: Live, manage: Manage, pool: string, then?: (pool: string) => void }} parts
 * @returns {TokenActs}
 */
export function startEditing({ live, manage, pool, then = () => {} }) {
  const acts = new TokenActs(live, manage, pool);
  const add = new AddDialog(live, manage, pool);
  const policy = startPoolDialog({ manage, then });
  const remove = new DeleteDialog(manage, pool, () => location.assign("/"));
  const edit = () => {
    policy.edit(pool).catch((error) => notify(failureWords(error)));
  };
  const run = {
    add: () => add.open(acts.fixed),
    edit,
    delete: () => void remove.open(),
  };
  document.addEventListener("click", ({ target }) => {
    const button = target instanceof Element ? target.closest("[data-pool-act]") : null;
    const act = button?.getAttribute("data-pool-act");
    if (act && act in run) run[/** @type {keyof typeof run} */ (act)]();
  });
  startDrawerActs(live, acts, edit);
  return acts;
}
