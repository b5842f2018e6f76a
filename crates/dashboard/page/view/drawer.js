// @ts-check
import { caller } from "../live/caller.js";
import { onLanguage, word } from "../words/language.js";
import { countdown, timeOfDay } from "../words/time.js";
import { Acting } from "./acting.js";
import { copies } from "./copy.js";
import { nameOf, onBackdrop, part, setText, tokenAddress } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { Marks } from "./marks.js";
import { fractionLeft, shownTime } from "./moment.js";
import { offOf } from "./state.js";
import { Timeline } from "./timeline.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/shape.js").Lease} Lease */

/** Drawer of the token in the page's address: its holder and its history. */
class Drawer {
  #live;
  #dialog = part("drawer", HTMLDialogElement);
  #title = part("drawer-title");
  #acting;
  #timeline;
  #marks;
  /** Name or id of the token in the address. */
  #wanted = "";
  #tokenId = "";
  /** Whether closing may go back in the browser's history, to the page without the drawer. */
  #cameFromPage = false;
  #fence = 0;

  /** @param {Live} live */
  constructor(live) {
    this.#live = live;
    this.#acting = new Acting(live);
    this.#timeline = new Timeline(live);
    this.#marks = new Marks(live);
    const dialog = this.#dialog;
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    onBackdrop(dialog, () => this.close());
    part("drawer-close").addEventListener("click", () => this.close());
    copies(part("drawer-copy-id", HTMLButtonElement), () => this.#tokenId);
    copies(part("drawer-copy", HTMLButtonElement), () => this.#token()?.value ?? "");
    copies(part("drawer-copy-lease", HTMLButtonElement), () => this.#lease()?.id ?? "");
    addEventListener("hashchange", () => {
      // After a change from one token's drawer to another's, back is not the page.
      this.#cameFromPage = this.#wanted === "";
      this.#follow();
    });
    const draw = () => this.#wanted && this.#draw();
    for (const kind of ["pool", "state", "info"]) live.addEventListener(kind, () => redraw(draw));
    live.addEventListener("state", () => this.#tokenId && this.#timeline.refresh());
    withTime(draw);
    onLanguage(draw);
    this.#follow();
  }

  #token() {
    return this.#live.pool.token(this.#tokenId);
  }

  /** The lease shown as running. @returns {Lease | null} */
  #lease() {
    const token = this.#token();
    return token ? this.#live.pool.holder(token, shownTime(this.#live)) : null;
  }

  /** Shows the token in the address. */
  #follow() {
    const wanted = decoded(/^#token=([^&]+)$/.exec(location.hash)?.[1] ?? "");
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#show("");
    if (!wanted) return this.#dialog.close();
    this.#draw();
    part("drawer-body").scrollTop = 0;
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    this.#title.focus();
  }

  /** @param {string} tokenId empty for no token, or while only a name is known */
  #show(tokenId) {
    this.#tokenId = tokenId;
    this.#fence = 0;
    this.#timeline.show(tokenId);
    if (!tokenId) this.#acting.show("", undefined, null);
  }

  close() {
    if (this.#cameFromPage) {
      this.#wanted = "";
      this.#show("");
      this.#dialog.close();
      history.back();
    } else {
      history.replaceState(null, "", location.pathname + location.search);
      this.#follow();
    }
    this.#cameFromPage = false;
  }

  #draw() {
    const id = this.#live.pool.find(this.#wanted)?.id ?? (isId(this.#wanted) ? this.#wanted : "");
    // A token that is retired while it is shown keeps its history.
    if (id !== this.#tokenId && id !== "") this.#show(id);
    const token = this.#token();
    const lease = this.#lease();
    const holding = part("drawer-holding");
    // The focus must not disappear with a button.
    const leaving = [part("drawer-release").parentElement, part("drawer-lease-row")];
    if (!lease && leaving.some((row) => row?.contains(document.activeElement))) this.#title.focus();
    holding.classList.toggle("free", lease === null);
    setText(this.#title, token ? word("token", { number: token.name })
      : word("token", { number: isId(this.#wanted) ? this.#wanted.slice(0, 8) : this.#wanted }));
    setText(part("drawer-id"), this.#tokenId);
    const ofHolder = this.#live.info?.policy.show_values === "holder";
    setText(part("drawer-value"), token?.value
      ?? (token ? word(ofHolder ? "drawerHolderOnly" : "drawerNoValue") : "–"));
    part("drawer-value").classList.toggle("absent", token?.value === undefined);
    part("drawer-copy").hidden = token?.value === undefined;
    this.#marks.draw(token);
    setText(part("drawer-lease"), lease?.id ?? "");
    part("drawer-lease-row").hidden = lease === null;
    if (lease) this.#drawHolder(lease);
    else this.#drawNone(token !== undefined);
    this.#acting.show(this.#tokenId, token, lease);
    const fence = token?.lease?.fence ?? 0;
    if (fence !== this.#fence) {
      // The start of a lease implies the end of the previous one.
      this.#fence = fence;
      this.#timeline.refresh();
    }
  }

  /** @param {boolean} known whether the pool has the token */
  #drawNone(known) {
    const token = this.#token();
    const off = token && offOf(token, shownTime(this.#live));
    const words = off ? "drawerOff" : known ? "drawerFree"
      : this.#live.loaded ? "drawerUnknown" : "drawerLoading";
    setText(part("drawer-holder"), word(words));
    setText(part("drawer-when"), known ? word("drawerFreeText") : "");
    setText(part("drawer-left"), "");
    part("drawer-note").hidden = true;
  }

  /** @param {Lease} lease */
  #drawHolder(lease) {
    const holder = part("drawer-holder");
    if (holder.textContent !== lease.user || holder.childElementCount === 0) {
      holder.replaceChildren(nameOf(lease.user));
    }
    const note = this.#token()?.note ?? "";
    part("drawer-note").hidden = note === "";
    setText(part("drawer-note"), note);
    const now = this.#live.clock.now();
    setText(part("drawer-when"), word("drawerUntil", { time: timeOfDay(lease.expiresAt) }));
    setText(part("drawer-left"), countdown(lease.expiresAt - now));
    part("drawer-bar").style.transform = `scaleX(${fractionLeft(this.#live, lease, now)})`;
    const policy = this.#live.info?.policy;
    const isMine = caller.mayActFor(lease.user);
    part("drawer-release").hidden = !isMine;
    part("drawer-renew").hidden = !isMine || !policy
      || policy.max_lease_seconds <= policy.lease_seconds;
  }
}

/** @param {string} text */
const isId = (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {Live} live @returns {(tokenId: string) => void} opens the drawer of a token */
export function startDrawer(live) {
  new Drawer(live);
  return (tokenId) => {
    location.hash = tokenAddress(live.pool.token(tokenId)?.name ?? tokenId);
  };
}
