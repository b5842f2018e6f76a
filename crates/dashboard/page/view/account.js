// @ts-check
import { caller } from "../live/caller.js";
import { isolated, onLanguage, word } from "../words/language.js";
import { dayAndTime } from "../words/time.js";
import { notify } from "./announcer.js";
import { part, setText } from "./dom.js";
import { theMenu } from "./menu.js";
import { problemWords } from "./problem.js";
/** @typedef {import("./menu.js").Item} Item */

/** Who is signed in, with the ways out, and the links that not all callers may follow.
 * @param {{ signIn: () => void, signedOut: () => void }} parts */
export function startAccount({ signIn, signedOut }) {
  const button = part("account");
  const { via, rights, keyName, keysExist, expiresAt, pools } = caller.who;
  part("foot-keys").hidden = !caller.may("admin");
  part("foot-metrics").hidden = !(caller.may("read") && pools.includes("*"));
  const known = keyName !== null && rights !== null;
  // Without keys nothing could be signed in with; without rights the form is there anyway.
  button.hidden = !known && !(keysExist && rights !== null);
  button.dataset.via = via;

  const leave = async (/** @type {boolean} */ everywhere) => {
    try {
      await caller.signOut(everywhere);
      signedOut();
    } catch (error) {
      notify(problemWords(error));
    }
  };
  const items = () => {
    const about = [word("accountRights", { rights: word(`rights-${rights ?? "read"}`) })];
    if (expiresAt !== null) about.push(word("accountUntil", { time: dayAndTime(expiresAt) }));
    /** @type {Item[]} */
    const items = [{ text: about.join(" "), act: "about", off: true, run: () => {} }];
    if (caller.may("admin")) {
      items.push({ text: word("accessTitle"), act: "keys", run: () => void (location.hash = "keys") });
    }
    // A key that a proxy adds to each request has no session to end.
    if (via !== "session") return items;
    return [...items, { text: word("signOut"), act: "sign-out", run: () => void leave(false) },
      { text: word("signOutEverywhere"), act: "sign-out-everywhere", run: () => void leave(true) }];
  };
  const label = () => {
    setText(part("account-name"), keyName ?? word("signIn"));
    button.title = known ? word("signedInAs", { key: isolated(keyName) }) : "";
    if (known) button.setAttribute("aria-label", button.title);
  };
  if (known) button.setAttribute("aria-haspopup", "menu");
  button.addEventListener("click", () =>
    (known ? theMenu().show(word("account"), items(), button) : signIn()));
  onLanguage(label);
  label();
}
