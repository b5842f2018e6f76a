// @ts-check
// A SharedWorker: all tabs of this origin share its one stream, since browsers open only six
// connections to a host.
import { Hub } from "./hub.js";

const hub = new Hub();

self.addEventListener("connect", (event) => {
  hub.meet(/** @type {MessageEvent} */ (event).ports[0]);
});
