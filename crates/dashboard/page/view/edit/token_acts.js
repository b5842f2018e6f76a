// @ts-check
import { caller } from "../../live/caller.js";
import { onLanguage, word } from "../../words/language.js";
import { notify } from "../announcer.js";
import { arrange, make, part, setText } from "../dom.js";
import { redraw } from "../frames.js";
import { failureWords } from "./form.js";
import { RetireDialog } from "./retire_dialog.js";
import { TaintDialog } from "./taint_dialog.js";
import { TokenDialog } from "./token_dialog.js";
/** @typedef {import("../../live/live.js").Live} Live */
/** @typedef {import("../../live/pool.js").Token} Token */
/** @typedef {import("../../live/manage.js").Manage} Manage */
/** @typedef {import("../../live/shape.js").Rights} Rights */
/** @typedef {"edit" | "cordon" | "uncordon" | "drain" | "retire"} TokenAct */

/** Taints that keep the token from new leases. @param {Token} token */
export const blocking = (token) => token.taints.filter(({ effect }) => effect !== "note");

/** @type {Record<TokenAct, Rights>} */
const NEEDS = { edit: "admin", cordon: "operate", uncordon: "operate", drain: "operate", retire: "admin" };

/** The acts that a token offers the caller now. @param {Token} token */
export const actsOf = (token) => actsFor(token).filter((act) => caller.may(NEEDS[act]));

/** @param {Token} token @returns {TokenAct[]} */
function actsFor(token) {
  if (token.retiring) return ["edit", "drain"];
  const taints = blocking(token);
  const drains = taints.some(({ effect }) => effect === "end-lease");
  if (drains) return ["edit", "uncordon", "retire"];
  return ["edit", taints.length > 0 ? "uncordon" : "cordon", "drain", "retire"];
}

/** Acts on the tokens of a pool. */
export class TokenActs {
  #live;
  #manage;
  #pool;
  #edit;
  #taint;
  #retire;

  /** @param {Live} live @param {Manage} manage @param {() => string} pool */
  constructor(live, manage, pool) {
    this.#live = live;
    this.#manage = manage;
    this.#pool = pool;
    this.#edit = new TokenDialog(live, manage, pool);
    this.#taint = new TaintDialog(live, manage, pool);
    this.#retire = new RetireDialog(live, manage, pool);
  }

  /** Whether the tokens of the pool can't be changed, though their leases and taints can. */
  get fixed() {
    return this.#live.info?.policy.membership === "fixed";
  }

  /** Whether the pool allows the act. @param {TokenAct} act */
  allows(act) {
    return !this.fixed || (act !== "edit" && act !== "retire");
  }

  /** @param {TokenAct} act @param {string} tokenId */
  run(act, tokenId) {
    const token = this.#live.pool.token(tokenId);
    if (!token) return;
    if (!this.allows(act)) return notify(word("editFixed"));
    if (act === "edit") this.#edit.open(token);
    else if (act === "retire") void this.#retire.open(token);
    else if (act === "uncordon") void this.#uncordon(token);
    else this.#taint.open(act, token);
  }

  /** @param {Token} token */
  async #uncordon(token) {
    try {
      for (const { name } of blocking(token)) {
        await this.#manage.removeTaint(this.#pool(), token.id, name);
      }
      notify(word("uncordoned", { token: token.name }));
    } catch (error) {
      notify(failureWords(error));
    }
  }
}

/**
 * The buttons in the drawer.
 * @param {Live} live @param {TokenActs} acts
 * @param {() => void} editPool opens the policy of a pool whose tokens are fixed
 */
export function startDrawerActs(live, acts, editPool) {
  const slot = part("drawer-acts");
  const row = make("div", "actions");
  const why = make("p", "none");
  const open = make("button", "link");
  open.type = "button";
  open.addEventListener("click", editPool);
  slot.replaceChildren(row, why);
  /** @type {Map<TokenAct, HTMLButtonElement>} */
  const buttons = new Map();
  const shown = () => live.pool.token(part("drawer-id").textContent ?? "");

  /** @param {TokenAct} act */
  const button = (act) => {
    const known = buttons.get(act);
    if (known) return known;
    const made = make("button", `small${act === "retire" ? " danger" : ""}`);
    made.type = "button";
    made.dataset.act = act;
    made.addEventListener("click", () => {
      const token = shown();
      if (token && made.getAttribute("aria-disabled") !== "true") acts.run(act, token.id);
    });
    buttons.set(act, made);
    return made;
  };
  const draw = () => {
    const token = shown();
    slot.hidden = !token;
    if (!token) return;
    const wanted = actsOf(token).map((act) => {
      const made = button(act);
      setText(made, word(act));
      made.setAttribute("aria-disabled", String(!acts.allows(act)));
      return made;
    });
    const focused = row.contains(document.activeElement);
    arrange(row, wanted);
    // The focus must not disappear with a button.
    if (focused && !row.contains(document.activeElement)) wanted[0]?.focus();
    why.hidden = !acts.fixed || !caller.may("admin");
    if (why.hidden) return;
    setText(open, word("editPolicy"));
    why.replaceChildren(word("editFixed"), " ", open);
  };
  for (const kind of ["pool", "info"]) live.addEventListener(kind, () => redraw(draw));
  new MutationObserver(draw).observe(part("drawer-id"), { childList: true, characterData: true,
    subtree: true });
  onLanguage(draw);
  draw();
}
