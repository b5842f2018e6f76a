// @ts-check
import { api } from "./live/api.js";
import { caller } from "./live/caller.js";
import { createManage } from "./live/manage.js";
import { leaseOf, Mine } from "./live/mine.js";
import { Pools } from "./live/pools.js";
import { poolPath } from "./live/where.js";
import { admit } from "./view/admit.js";
import { startBar } from "./view/bar.js";
import { part } from "./view/dom.js";
import { startPoolDialog } from "./view/edit/pool_dialog.js";
import { startAccess } from "./view/keys/access.js";
import { isActive, startMine } from "./view/mine.js";
import { startFinding } from "./view/overview/finding.js";
import { startList } from "./view/overview/list.js";
import { startTotals } from "./view/overview/totals.js";
import { startUpgrade } from "./view/upgrade.js";
import { fillStaticWords } from "./words/language.js";

const pools = new Pools();
// The bar needs only the state of the connection, which both have.
const connection = /** @type {import("./live/live.js").Live} */ (/** @type {unknown} */ (pools));
api.watch(() => pools.state !== "lost");
fillStaticWords();
startBar(connection);
await admit(connection);
startTotals(pools);
startFinding(pools, startList(pools));
startUpgrade(connection);
const lengthsOf = (/** @type {string} */ pool) => pools.list.rows.get(pool)?.policy;
const mine = new Mine({ isActive: () => isActive(pools), hasAllEvents: true, lengthsOf });
pools.addEventListener("told", (event) => {
  const { detail } = /** @type {Event & { detail: import("./live/pool_list.js").Told[] }} */ (event);
  for (const { kind, data } of detail) {
    if (!kind.includes(".")) mine.apply(kind, leaseOf(data));
  }
});
const { create } = startPoolDialog({
  manage: createManage(api.request),
  then: (pool) => location.assign(poolPath(pool)),
});
part("new-pool").addEventListener("click", create);
part("new-pool").hidden = !caller.may("admin");
startMine(mine, connection, () => null);
startAccess();
pools.start();
