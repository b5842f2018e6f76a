// @ts-check
import { api, Problem } from "../live/api.js";
import { onLanguage, word } from "../words/language.js";
import { announce } from "./announcer.js";
import { part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { Granted } from "./granted.js";
import { shownTime } from "./moment.js";
import { problemWords } from "./problem.js";
import { inTurn } from "./turns.js";
/** @typedef {import("../live/live.js").Live} Live */

/** How long to wait where the policy lets wait, in seconds. */
const WAIT = 30;
/** So long after an answer the same is not asked for again, in milliseconds: keys and fingers are
 * not that exact. */
const CALM = 700;

/** @param {Live} live */
export function startAllocating(live) {
  const form = part("allocate", HTMLFormElement);
  const user = part("allocate-user", HTMLInputElement);
  const seconds = part("allocate-seconds", HTMLInputElement);
  const submit = part("allocate-submit");
  const error = part("allocate-error");
  const granted = new Granted(live, part("allocate-result"));
  let busy = false;
  let answeredAt = -Infinity;
  /** @type {unknown} */
  let failure = null;
  /** @type {AbortController | null} by which a wait can be given up */
  let wait = null;
  /** By performance.now(). */
  let waitEnds = 0;

  const draw = () => {
    const since = performance.now() - waitEnds + WAIT * 1000;
    const full = live.pool.counts(shownTime(live)).available === 0;
    const waits = wait !== null && (full || since > 1000);
    setText(submit, word(!busy ? "allocate" : waits ? "allocateWaiting" : "allocateBusy"));
    submit.setAttribute("aria-disabled", String(busy));
    part("allocate-wait").hidden = !waits;
    const left = Math.max(0, Math.ceil((waitEnds - performance.now()) / 1000));
    setText(part("allocate-wait-text"), live.state === "lost" ? word("allocateWaitLost")
      : word("allocateWaitSays", { count: Math.max(1, live.info?.waiting ?? 1), seconds: left }));
    const max = live.info?.policy.lease_seconds;
    setText(error, !failure ? "" : isAbout(failure, "invalid-parameter") && max
      ? word("allocateForWrong", { max }) : problemWords(failure));
    user.setAttribute("aria-invalid", String(isAbout(failure, "invalid-user")));
    seconds.setAttribute("aria-invalid", String(isAbout(failure, "invalid-parameter")));
  };

  const ask = async () => {
    // What is no number must not pass for none.
    if (seconds.validity.badInput) throw new Problem(400, { code: "invalid-parameter" });
    const leaseSeconds = seconds.value === "" ? undefined : seconds.valueAsNumber;
    const { policy } = live.info ?? await api.pool();
    if (policy.when_full !== "wait") return api.allocate(user.value, { leaseSeconds });
    wait = new AbortController();
    waitEnds = performance.now() + WAIT * 1000;
    const wishes = { leaseSeconds, waitSeconds: WAIT, signal: wait.signal };
    draw();
    return inTurn(() => api.allocate(user.value, wishes));
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy || performance.now() - answeredAt < CALM) return;
    busy = true;
    failure = null;
    granted.show(null);
    draw();
    try {
      granted.show(await ask());
      user.select();
    } catch (problem) {
      if (wait?.signal.aborted) announce(word("allocateGivenUp"));
      else failure = problem;
      if (isAbout(problem, "invalid-parameter")) seconds.focus();
      else if (form.contains(document.activeElement)) user.focus();
    }
    busy = false;
    wait = null;
    answeredAt = performance.now();
    draw();
  });
  // Held down, Enter would ask again and again, and a double click twice.
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.repeat) event.preventDefault();
    if (event.key === "Escape") wait?.abort();
  });
  submit.addEventListener("click", (event) => event.detail > 1 && event.preventDefault());
  form.addEventListener("input", () => (answeredAt = -Infinity));
  part("allocate-cancel").addEventListener("click", () => wait?.abort());
  live.addEventListener("info", () => {
    seconds.placeholder = String(live.info?.policy.lease_seconds ?? "");
  });
  for (const kind of ["info", "state"]) live.addEventListener(kind, () => wait && redraw(draw));
  withTime(() => wait && draw());
  onLanguage(draw);
}

/** @param {any} failure @param {string} code */
const isAbout = (failure, code) => failure?.code === code;
