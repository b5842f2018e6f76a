// @ts-check
// Changes to pools and their tokens. None is repeated after a lost answer: with `If-Match`, a
// repetition would fail because of the change that it made itself.
/** @typedef {import("./request.js").Ask} Ask */

/** @typedef {(path: string, ask?: Ask) => Promise<{ body: any, etag?: string | null }>} Request */

/** @typedef {{ kind: string, pool: string, token: string | undefined,
 *   fields: { name: string, before?: string, after?: string }[],
 *   retiringUntil: number | null }} Change a change to a pool or token */

/** @typedef {{ changes: Change[], leasesEnded: number, waitsGivenUp: number }} Applied */

/** @typedef {{ ifMatch?: string | null, create?: boolean, dryRun?: boolean, endLeases?: boolean
 * }} How `create`: only if the pool does not exist; `dryRun`: only list the changes */

/** @typedef {{ name?: string, value?: string, labels?: Record<string, string> }} TokenDocument */

/** @typedef {{ name: string, effect: "note" | "no-new-leases" | "end-lease", reason?: string,
 *   by?: string, until?: string }} TaintRequest */

/**
 * @param {any} body `ApplyResult`
 * @returns {Applied}
 */
function appliedOf(body) {
  const changes = body.changes.map((/** @type {any} */ row) => ({
    kind: row.kind,
    pool: row.pool,
    token: row.token,
    fields: row.fields ?? [],
    retiringUntil: row.retiring_until ? Date.parse(row.retiring_until) : null,
  }));
  return { changes, leasesEnded: body.leases_ended, waitsGivenUp: body.waits_given_up };
}

/** @param {string} pool */
const pathOf = (pool) => `/api/pools/${encodeURIComponent(pool)}`;

/** @param {string} pool @param {string} token name or id */
const tokenPath = (pool, token) => `${pathOf(pool)}/tokens/${encodeURIComponent(token)}`;

/** @param {How} how @returns {Record<string, string>} */
function conditions({ ifMatch, create }) {
  if (create) return { "if-none-match": "*" };
  return ifMatch ? { "if-match": ifMatch } : {};
}

/** @param {How} how */
function flags({ dryRun, endLeases }) {
  const flags = [dryRun && "dry_run=true", endLeases && "end_leases=true"].filter(Boolean);
  return flags.length > 0 ? `?${flags.join("&")}` : "";
}

/**
 * Client of the routes that change pools and tokens.
 * @param {Request} request
 */
export function createManage(request) {
  /** @param {string} method @param {string} path @param {How} how @param {unknown} [body] */
  const apply = async (method, path, how, body) => {
    const ask = { method, headers: conditions(how), body };
    return appliedOf((await request(path + flags(how), ask)).body);
  };

  return {
    /** Reads a pool with the tag of its description and policy. @param {string} pool */
    async pool(pool) {
      const { body, etag } = await request(pathOf(pool));
      return { details: body, etag: etag ?? null };
    },

    /** Creates or changes a pool. @param {string} pool @param {object} document
     * @param {How} [how] */
    putPool: (pool, document, how = {}) => apply("PUT", pathOf(pool), how, document),

    /** @param {string} pool @param {How} [how] */
    deletePool: (pool, how = {}) => apply("DELETE", pathOf(pool), how),

    /** Adds a token; refused if its name is taken.
     * @param {string} pool @param {TokenDocument} token @param {How} [how] */
    async addToken(pool, token, how = {}) {
      const ask = { method: "POST", headers: conditions(how), body: token };
      return (await request(`${pathOf(pool)}/tokens`, ask)).body;
    },

    /** Adds tokens, or changes those whose names exist.
     * @param {string} pool @param {TokenDocument[]} tokens @param {How} [how] */
    putTokens: (pool, tokens, how = {}) =>
      apply("PUT", `${pathOf(pool)}/tokens`, how, { tokens }),

    /** @param {string} pool @param {string} token @param {TokenDocument} changes
     * @param {How} [how] */
    async patchToken(pool, token, changes, how = {}) {
      const ask = { method: "PATCH", headers: conditions(how), body: changes };
      return (await request(tokenPath(pool, token), ask)).body;
    },

    /** @param {string} pool @param {string} token @param {How} [how] */
    retireToken: (pool, token, how = {}) => apply("DELETE", tokenPath(pool, token), how),

    /**
     * @param {string} pool @param {string} token @param {TaintRequest} taint
     * @returns {Promise<string | null>} the lease that ended for it
     */
    async setTaint(pool, token, taint) {
      const ask = { method: "POST", body: taint };
      const { body } = await request(`${tokenPath(pool, token)}/taints`, ask);
      return body.ended_lease_id;
    },

    /** @param {string} pool @param {string} token @param {string} name of the taint */
    async removeTaint(pool, token, name) {
      const path = `${tokenPath(pool, token)}/taints/${encodeURIComponent(name)}`;
      await request(path, { method: "DELETE" });
    },
  };
}

/** @typedef {ReturnType<typeof createManage>} Manage */
