// @ts-check
import { announce } from "./announcer.js";
import { part } from "./dom.js";
import { word } from "../words/language.js";
/** @typedef {import("../live/live.js").Live} Live */

/** The version of this page, which is in the path of its files. */
const version = /\/assets\/([^/]+)\//.exec(import.meta.url)?.[1];

/** Whether the server's page is another one than this, as far as that can be found out. */
async function isOutdated() {
  try {
    const answer = await fetch("/", { method: "HEAD", cache: "no-store" });
    const etag = answer.headers.get("etag");
    return answer.ok && etag !== null && version !== undefined && !etag.includes(version);
  } catch {
    return false;
  }
}

/** Offers to load the page anew when the server has come back with another one. It is never done
 * unasked: somebody may be typing.
 * @param {Live} live */
export function startUpgrade(live) {
  const offer = part("upgrade");
  let before = live.state;
  live.addEventListener("state", async () => {
    const back = live.state === "live" && before === "lost";
    // On the way back it may be connecting first.
    if (live.state !== "connecting") before = live.state;
    if (!back || !offer.hidden || !await isOutdated()) return;
    offer.hidden = false;
    announce(word("upgraded"));
  });
  part("upgrade-load").addEventListener("click", () => location.reload());
}
