// @ts-check
import { api } from "../live/api.js";
import { isolated, onLanguage, word } from "../words/language.js";
import { countdown, timeOfDay } from "../words/time.js";
import { announce } from "./announcer.js";
import { copies } from "./copy.js";
import { nameOf, part, setText, tokenAddress } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { fractionLeft, shownTime } from "./moment.js";
import { problemWords } from "./problem.js";
import { Timeline } from "./timeline.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/shape.js").Lease} Lease */

/** One token: its holder, and its history. The page's address says which. */
class Drawer {
  #live;
  #dialog = part("drawer", HTMLDialogElement);
  #title = part("drawer-title");
  #timeline;
  #tokenId = "";
  /** Whether closing may simply go back, to the page without the drawer. */
  #cameFromPage = false;
  #busy = false;
  #fence = 0;

  /** @param {Live} live */
  constructor(live) {
    this.#live = live;
    this.#timeline = new Timeline(live);
    const dialog = this.#dialog;
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    // What is not the drawer is its backdrop.
    dialog.addEventListener("click", ({ target }) => target === dialog && this.close());
    part("drawer-close").addEventListener("click", () => this.close());
    part("drawer-release").addEventListener("click", () => this.#release());
    part("drawer-renew").addEventListener("click", () => this.#renew());
    copies(part("drawer-copy-id", HTMLButtonElement), () => this.#tokenId);
    copies(part("drawer-copy", HTMLButtonElement), () => this.#token()?.value ?? "");
    addEventListener("hashchange", () => {
      this.#cameFromPage = true;
      this.#follow();
    });
    const draw = () => this.#tokenId && this.#draw();
    for (const kind of ["pool", "state", "info"]) live.addEventListener(kind, () => redraw(draw));
    live.addEventListener("state", () => this.#tokenId && this.#timeline.refresh());
    withTime(draw);
    onLanguage(draw);
    this.#follow();
  }

  #token() {
    return this.#live.pool.token(this.#tokenId);
  }

  /** The lease that is shown as running. @returns {Lease | null} */
  #lease() {
    const token = this.#token();
    return token ? this.#live.pool.holder(token, shownTime(this.#live)) : null;
  }

  /** Shows what the address says. */
  #follow() {
    const tokenId = /^#token=([\w-]+)$/.exec(location.hash)?.[1].toLowerCase() ?? "";
    if (tokenId === this.#tokenId) return;
    this.#tokenId = tokenId;
    this.#fence = 0;
    setText(part("drawer-error"), "");
    this.#timeline.show(tokenId);
    if (!tokenId) return this.#dialog.close();
    this.#draw();
    part("drawer-body").scrollTop = 0;
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    this.#title.focus();
  }

  close() {
    if (this.#cameFromPage) {
      this.#tokenId = "";
      this.#timeline.show("");
      this.#dialog.close();
      history.back();
    } else {
      history.replaceState(null, "", location.pathname + location.search);
      this.#follow();
    }
    this.#cameFromPage = false;
  }

  #draw() {
    const token = this.#token();
    const lease = this.#lease();
    const loaded = this.#live.pool.tokens.length > 0;
    const holding = part("drawer-holding");
    // A button that disappears must not take the focus with it.
    if (!lease && part("drawer-release").parentElement?.contains(document.activeElement)) {
      this.#title.focus();
    }
    holding.classList.toggle("free", lease === null);
    setText(this.#title, token ? word("token", { number: String(token.position + 1) })
      : word("token", { number: this.#tokenId.slice(0, 8) }));
    setText(part("drawer-id"), this.#tokenId);
    setText(part("drawer-value"), token?.value ?? "–");
    this.#drawHolder(lease, loaded && !token);
    const fence = token?.lease?.fence ?? 0;
    if (fence !== this.#fence) {
      // The lease that begins tells of the one that ended, too.
      this.#fence = fence;
      this.#timeline.refresh();
    }
  }

  /** @param {Lease | null} lease @param {boolean} unknown */
  #drawHolder(lease, unknown) {
    const holder = part("drawer-holder");
    if (!lease) {
      setText(holder, word(unknown ? "drawerUnknown" : "drawerFree"));
      setText(part("drawer-when"), unknown ? "" : word("drawerFreeText"));
      setText(part("drawer-left"), "");
      return;
    }
    if (holder.textContent !== lease.user || holder.childElementCount === 0) {
      holder.replaceChildren(nameOf(lease.user));
    }
    const now = this.#live.clock.now();
    setText(part("drawer-when"), word("drawerUntil", { time: timeOfDay(lease.expiresAt) }));
    setText(part("drawer-left"), countdown(lease.expiresAt - now));
    part("drawer-bar").style.transform = `scaleX(${fractionLeft(this.#live, lease, now)})`;
    const policy = this.#live.info?.policy;
    part("drawer-renew").hidden = !policy || policy.max_lease_seconds <= policy.lease_seconds;
    setText(part("drawer-release"), word(this.#busy ? "releaseBusy" : "release"));
  }

  async #release() {
    const lease = this.#lease();
    const token = this.#token();
    if (!lease || !token) return;
    await this.#act("drawer-release", async () => {
      await api.releaseLease(lease.id);
      const text = word("tokenInText", { number: String(token.position + 1) });
      return word("released", { user: isolated(lease.user), token: text });
    });
  }

  async #renew() {
    const lease = this.#lease();
    if (!lease) return;
    await this.#act("drawer-renew", async () => {
      const { expiresAt } = await api.renew(lease.id);
      return word("renewed", { time: timeOfDay(expiresAt) });
    });
  }

  /** @param {string} button @param {() => Promise<string>} action */
  async #act(button, action) {
    if (this.#busy) return;
    const tokenId = this.#tokenId;
    this.#busy = true;
    part(button).setAttribute("aria-disabled", "true");
    setText(part("drawer-error"), "");
    this.#draw();
    try {
      announce(await action());
    } catch (error) {
      if (tokenId === this.#tokenId) setText(part("drawer-error"), problemWords(error));
    }
    this.#busy = false;
    part(button).removeAttribute("aria-disabled");
    if (this.#tokenId) this.#draw();
  }
}

/** @param {Live} live @returns {(tokenId: string) => void} opens the drawer of a token */
export function startDrawer(live) {
  new Drawer(live);
  return (tokenId) => {
    location.hash = tokenAddress(tokenId);
  };
}
