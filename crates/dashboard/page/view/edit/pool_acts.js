// @ts-check
import { caller } from "../../live/caller.js";
import { poolPath } from "../../live/where.js";
import { onLanguage, word } from "../../words/language.js";
import { notify } from "../announcer.js";
import { make, part, setText } from "../dom.js";
import { theMenu } from "../menu.js";
import { AddDialog } from "./add_dialog.js";
import { DeleteDialog } from "./delete_dialog.js";
import { failureWords } from "./form.js";
import { startPoolDialog } from "./pool_dialog.js";
import { startDrawerActs, TokenActs } from "./token_acts.js";
/** @typedef {import("../../live/live.js").Live} Live */
/** @typedef {import("../../live/manage.js").Manage} Manage */
/** @typedef {import("../../words/language.js").Key} Key */

/**
 * Changes of the pool and its tokens, on the page of the pool.
 * @param {Live} live
 * @param {Manage} manage
 * @returns {TokenActs} the acts on single tokens
 */
export function startEditing(live, manage) {
  const name = () => live.name ?? "";
  const acts = new TokenActs(live, manage, name);
  const add = new AddDialog(live, manage, name);
  const policy = startPoolDialog({
    manage,
    then: (pool) => pool !== name() && location.assign(poolPath(pool)),
  });
  const remove = new DeleteDialog(manage, name, () => location.assign("/"));
  const edit = () => {
    policy.edit(name()).catch((error) => notify(failureWords(error)));
  };

  const addTokens = () => add.open(acts.fixed);
  const more = button("quiet", "poolMenu", () => theMenu().show(word("poolMenu"), [
    { text: word("addTokens"), act: "add", run: addTokens },
    { text: word("editPolicy"), act: "policy", run: edit },
    { text: word("newPool"), act: "new", run: () => policy.create() },
    { text: word("deletePool"), act: "delete", run: () => void remove.open() },
  ], more));
  more.setAttribute("aria-haspopup", "menu");
  if (caller.may("admin")) {
    part("pool-acts").replaceChildren(more);
    part("empty-acts").replaceChildren(button("primary", "addTokens", addTokens));
  }
  const drawEmpty = () => (part("empty-acts").hidden = live.info?.size !== 0);
  live.addEventListener("info", drawEmpty);
  drawEmpty();
  startDrawerActs(live, acts, edit);
  return acts;
}

/** @param {string} className @param {Key} key @param {() => void} press */
function button(className, key, press) {
  const made = make("button", className);
  made.type = "button";
  made.dataset.poolAct = key;
  made.addEventListener("click", press);
  const label = () => setText(made, word(key));
  onLanguage(label);
  label();
  return made;
}
