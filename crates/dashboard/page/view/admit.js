// @ts-check
// What comes before the rest of a page: who is the caller, and may it read?
import { caller } from "../live/caller.js";
import { DENIED } from "../live/stream.js";
import { word } from "../words/language.js";
import { startAccount } from "./account.js";
import { notify } from "./announcer.js";
import { rememberMe } from "./me.js";
import { SignIn } from "./sign_in.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../words/language.js").Key} Key */

/** Why the page was loaded again. @typedef {"in" | "out" | "ended" | "needed"} Reason */

/** Pause before a page whose stream was refused is loaded again although the caller is the same. */
const PAUSE = 5000;

/** The rest of the page must not start. */
const NEVER = new Promise(() => {});

/** @type {Record<Reason, Key>} */
const WHY = { in: "signInCookies", out: "signedOut", ended: "signInEnded", needed: "signInNeeded" };

/**
 * Waits until the caller may read. Without that, the page asks for a key, and is loaded again after it: then no
 * part of it has data of another caller.
 * @param {Live} live
 */
export async function admit(live) {
  const others = new BroadcastChannel("token-manager caller");
  const restart = (/** @type {Reason} */ reason) => {
    caller.isLeaving = true;
    others.postMessage("changed");
    history.replaceState({ reason }, "");
    location.reload();
  };
  const form = new SignIn(caller, () => restart("in"));
  const redeemed = await redeem(form);
  if (redeemed) {
    restart("in");
    await NEVER;
  }
  await caller.learn();
  const { rights, via, keyId } = caller.who;
  if (caller.onlyUser !== null) rememberMe(caller.onlyUser);
  startAccount({ signIn: () => form.show(null, true), signedOut: () => restart("out") });
  caller.addEventListener("changed", () => restart(keyId === null ? "needed" : "ended"));
  others.onmessage = () => void caller.check();
  live.addEventListener("state", async () => {
    if (live.why !== DENIED) return;
    await caller.check();
    setTimeout(() => caller.isHeld || restart("ended"), PAUSE);
  });
  const reason = /** @type {Reason | undefined} */ (history.state?.reason);
  const why = reason !== undefined && via !== "session" ? WHY[reason] : null;
  if (reason !== undefined) history.replaceState(null, "");
  if (rights === null || redeemed === false) form.show(why, rights !== null);
  else if (why) notify(word(why));
  if (rights === null) await NEVER;
}

/** Exchanges the code that was in the address, if any. @param {SignIn} form
 * @returns {Promise<boolean | undefined>} whether it was valid */
async function redeem(form) {
  const { signInCode: code } = /** @type {{ signInCode?: string }} */ (/** @type {unknown} */ (window));
  if (code === undefined) return undefined;
  delete (/** @type {any} */ (window)).signInCode;
  return form.redeem(code);
}
