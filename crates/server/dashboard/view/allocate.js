// @ts-check
import { api } from "../live/api.js";
import { fillWords, isolated, onLanguage, word } from "../words/language.js";
import { announce } from "./announcer.js";
import { copies } from "./copy.js";
import { make, nameOf, part, setText, tokenAddress } from "./dom.js";
import { problemWords } from "./problem.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/shape.js").Allocation} Allocation */

/** How long to wait where the policy lets wait, in seconds. */
const WAIT = 30;

/** @param {Live} live */
export function startAllocating(live) {
  const user = part("allocate-user", HTMLInputElement);
  const seconds = part("allocate-seconds", HTMLInputElement);
  const submit = part("allocate-submit");
  const result = part("allocate-result");
  const error = part("allocate-error");
  let busy = false;
  /** @type {Allocation | null} */
  let last = null;
  /** @type {unknown} */
  let failure = null;

  const draw = () => {
    const waits = live.info?.policy.when_full === "wait" && live.info.available === 0;
    setText(submit, word(!busy ? "allocate" : waits ? "allocateWaiting" : "allocateBusy"));
    if (busy) submit.setAttribute("aria-disabled", "true");
    else submit.removeAttribute("aria-disabled");
    const max = live.info?.policy.lease_seconds;
    setText(error, !failure ? "" : isAbout(failure, "invalid-parameter") && max
      ? word("allocateForWrong", { max }) : problemWords(failure));
    user.setAttribute("aria-invalid", String(isAbout(failure, "invalid-user")));
    seconds.setAttribute("aria-invalid", String(isAbout(failure, "invalid-parameter")));
    result.replaceChildren(...(last ? resultParts(live, last) : []));
  };

  part("allocate", HTMLFormElement).addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    failure = null;
    last = null;
    draw();
    try {
      const waitSeconds = live.info?.policy.when_full === "wait" ? WAIT : undefined;
      const leaseSeconds = seconds.value === "" ? undefined : seconds.valueAsNumber;
      last = await api.allocate(user.value, { leaseSeconds, waitSeconds });
      user.select();
    } catch (problem) {
      failure = problem;
      if (isAbout(problem, "invalid-parameter")) seconds.focus();
      else user.focus();
    }
    busy = false;
    draw();
    if (last) announce(sentence(live, last));
  });
  live.addEventListener("info", () => {
    seconds.placeholder = String(live.info?.policy.lease_seconds ?? "");
  });
  onLanguage(draw);
}

/** @param {any} failure @param {string} code */
const isAbout = (failure, code) => failure?.code === code;

/** @param {Live} live @param {Allocation} allocation */
function tokenWords(live, { tokenId }) {
  const token = live.pool.token(tokenId);
  return word("tokenInText", {
    number: token ? String(token.position + 1) : tokenId.slice(0, 8),
  });
}

/** @param {Live} live @param {Allocation} allocation */
function sentence(live, allocation) {
  const token = tokenWords(live, allocation);
  return word(allocation.over ? "allocatedOver" : "allocated", {
    user: isolated(allocation.lease.user), token,
  });
}

/** @param {Live} live @param {Allocation} allocation */
function resultParts(live, allocation) {
  const link = make("a", "", tokenWords(live, allocation));
  link.href = tokenAddress(allocation.tokenId);
  const what = make("p");
  const name = (/** @type {string} */ user) => make("span", "name", nameOf(user));
  fillWords(what, allocation.over ? "allocatedOver" : "allocated", {
    user: name(allocation.lease.user), token: link,
  });
  const copy = make("button", "quiet small", word("copy"));
  copy.type = "button";
  copies(copy, () => allocation.value);
  const code = make("code", "", allocation.value);
  const parts = [what, make("div", "value", code, copy)];
  if (allocation.evicted) {
    const whose = make("p", "aside");
    fillWords(whose, "allocatedEvicted", { user: name(allocation.evicted.user) });
    parts.push(whose);
  }
  return parts;
}
