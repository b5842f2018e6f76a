// @ts-check
import { announce } from "./announcer.js";
import { part } from "./dom.js";
import { word } from "../words/language.js";
/** @typedef {import("../live/live.js").Live} Live */

/** The version of this page, from the path of its files. */
const version = /\/assets\/([^/]+)\//.exec(import.meta.url)?.[1];

/** Whether the server has another version of the page; false if that can't be determined. */
async function isOutdated() {
  try {
    const answer = await fetch("/", { method: "HEAD", cache: "no-store" });
    const etag = answer.headers.get("etag");
    return answer.ok && etag !== null && version !== undefined && !etag.includes(version);
  } catch {
    return false;
  }
}

/** Offers to reload the page when the server has returned with another version. It never reloads on
 * its own, since the user may be typing.
 * @param {Live} live */
export function startUpgrade(live) {
  const offer = part("upgrade");
  let before = live.state;
  live.addEventListener("state", async () => {
    const back = live.state === "live" && before === "lost";
    // Before it is live again, the state may be connecting.
    if (live.state !== "connecting") before = live.state;
    if (!back || !offer.hidden || !await isOutdated()) return;
    offer.hidden = false;
    announce(word("upgraded"));
  });
  part("upgrade-load").addEventListener("click", () => location.reload());
}
