// @ts-check
import { dangerOf } from "./danger.js";
import { word } from "./words.js";

/** The operation whose request a button sends. @param {Element} block */
function requestOf(block) {
  const method = block.querySelector(".opblock-summary-method")?.textContent ?? "";
  const path = block.querySelector(".opblock-summary-path")?.getAttribute("data-path") ?? "";
  const body = block.querySelector(".opblock-section-request-body textarea");
  const chosen = (/** @type {string} */ name) => {
    const choice = block.querySelector(`[data-param-name="${name}"] select`);
    return choice instanceof HTMLSelectElement && choice.value === "true";
  };
  return {
    method, path,
    body: body instanceof HTMLTextAreaElement ? body.value : "",
    dryRun: chosen("dry_run"),
    prune: chosen("prune"),
  };
}

/** @param {string} id */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** Asks before requests that end leases or delete something. */
export function startConfirming() {
  const dialog = /** @type {HTMLDialogElement} */ (part("confirm"));
  /** @type {HTMLElement | null} */
  let asked = null;
  let allowed = false;

  // Before Swagger UI gets the click.
  document.addEventListener("click", (event) => {
    const { target } = event;
    const button = target instanceof Element ? target.closest("button.execute") : null;
    const block = button?.closest(".opblock");
    if (!(button instanceof HTMLElement) || !block || allowed) return;
    const request = requestOf(block);
    const danger = dangerOf(request);
    if (danger === null) return;
    event.preventDefault();
    event.stopPropagation();
    asked = button;
    part("confirm-title").textContent = word("title");
    part("confirm-text").textContent = word(danger);
    part("confirm-request").textContent = `${request.method} ${request.path}`;
    part("confirm-no").textContent = word("no");
    part("confirm-yes").textContent = word("yes");
    dialog.showModal();
    part("confirm-no").focus();
  }, { capture: true });

  part("confirm-no").addEventListener("click", () => dialog.close());
  part("confirm-yes").addEventListener("click", () => {
    dialog.close();
    allowed = true;
    asked?.click();
    allowed = false;
  });
}
