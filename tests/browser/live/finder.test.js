// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Finder, HITS } from "../../../crates/dashboard/page/live/finder.js";

const ID = "0198c1b2-0000-7000-8000-000000000001";
const expires = "2026-01-31T12:00:00Z";

/** @param {string} name @param {any} [more] */
const token = (name, more = {}) => ({ id: `id-${name}`, name, labels: {}, lease: null, ...more });

/** @param {Record<string, any[]>} pools @param {any[]} [leases] */
function server(pools, leases = []) {
  /** @type {string[]} */
  const asked = [];
  return {
    asked,
    pools: Object.entries(pools).map(([name, tokens]) => ({ name, size: tokens.length })),
    async request(/** @type {string} */ path) {
      asked.push(path);
      const pool = /^\/api\/pools\/([^/]+)\/tokens$/.exec(path)?.[1];
      const body = pool ? { tokens: pools[pool], next: null } : { leases, next: null };
      return { status: 200, body, next: undefined, etag: undefined };
    },
  };
}

/** @param {ReturnType<typeof server>} api @param {string} query */
async function find(api, query, finder = new Finder(api)) {
  /** @type {any} */
  let last;
  await finder.find(query, api.pools, (found) => (last = found));
  return last;
}

test("tokens are found by name, label, holder, note and id", async () => {
  const lease = { lease_id: ID, user: "Ann", note: "PR 12", expires_at: expires };
  const api = server({
    staging: [token("staging-1", { labels: { region: "eu" }, lease }), token("staging-2")],
    ports: [token("8080")],
    empty: [],
  });
  /** @param {string} query */
  const names = async (query) => {
    const { hits, searched, pools } = await find(api, query);
    assert.equal(searched, pools);
    return hits.map((/** @type {any} */ hit) => `${hit.pool}/${hit.tokenName}`).join(" ");
  };
  assert.equal(await names("STAGING-"), "staging/staging-1 staging/staging-2");
  assert.equal(await names("region=eu"), "staging/staging-1");
  assert.equal(await names("ann"), "staging/staging-1");
  assert.equal(await names("pr 12"), "staging/staging-1");
  assert.equal(await names(ID.slice(0, 10)), "staging/staging-1");
  assert.equal(await names("808"), "ports/8080");
  assert.equal(await names("nothing"), "");
});

test("leases of a user are found in every pool, also where no tokens were read", async () => {
  const pools = Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`pool-${i}`, [token("t")]]));
  const row = { pool: "pool-89", token_id: "id", token_name: "t", user: "ann", expires_at: expires };
  const api = server(pools, [row, { ...row, pool: "elsewhere", token_id: "other" }]);
  const { hits, searched, pools: all } = await find(api, "ann");
  assert.deepEqual(hits.map((/** @type {any} */ hit) => hit.pool), ["pool-89"]);
  assert.equal(all, 90);
  assert.equal(searched, 50, "a search reads only so much");
  assert.equal(api.asked.length, 51);
});

test("pools named by the query are searched first, and tokens are read once", async () => {
  const pools = Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`pool-${i}`, [token("t")]]));
  const api = server({ ...pools, zoo: [token("zoo-7"), token("zoo-8")] });
  const finder = new Finder(api);
  assert.equal((await find(api, "zoo-7", finder)).hits[0].tokenName, "zoo-7");
  assert.equal(api.asked[1], "/api/pools/zoo/tokens");
  const before = api.asked.length;
  await find(api, "zoo-8", finder);
  const again = api.asked.slice(before).filter((path) => path.includes("/zoo/"));
  assert.deepEqual(again, []);
});

test("the number of hits is limited, and a later search ends this one", async () => {
  const api = server({ many: Array.from({ length: 100 }, (_, i) => token(`many-${i}`)) });
  assert.equal((await find(api, "many")).hits.length, HITS);
  const finder = new Finder(api);
  let heard = 0;
  const first = finder.find("many", api.pools, () => (heard += 1));
  finder.stop();
  await first;
  assert.equal(heard, 0);
});
