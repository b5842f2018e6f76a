// @ts-check
// A SharedWorker: all tabs of this origin that show a pool share its one stream, since browsers open only six
// connections to a host. The worker's name ends with that of the pool.
import { Hub } from "./hub.js";

const { name } = /** @type {{ name: string }} */ (/** @type {unknown} */ (self));
const hub = new Hub({ pool: name.slice(name.lastIndexOf(" ") + 1) });

self.addEventListener("connect", (event) => {
  hub.meet(/** @type {MessageEvent} */ (event).ports[0]);
});
