// @ts-check
// Client of the routes about API keys and the audit log. None of these requests is repeated after a lost
// answer: a new secret would be lost with it.
import { apiKeyOf, auditEntryOf, refusalOf } from "./shape.js";
/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./shape.js").ApiKey} ApiKey */
/** @typedef {import("./shape.js").AuditEntry} AuditEntry */
/** @typedef {import("./shape.js").Refusal} Refusal */
/** @typedef {import("./shape.js").Rights} Rights */

/** @typedef {{ name: string, rights: Rights, pools: string[], users: string[],
 *   expires_in_seconds?: number, max_leases?: number, max_requests_per_second?: number }} KeyRequest */

/** Number of rows on a page. */
const PAGE = 50;

/** @param {string} id */
const pathOf = (id) => `/api/keys/${encodeURIComponent(id)}`;

/** @param {Api["request"]} request */
export function createKeys(request) {
  /** @param {string} path @param {unknown} body @returns {Promise<{ key: ApiKey, secret: string }>} */
  const makeSecret = async (path, body) => {
    const answer = await request(path, { method: "POST", body });
    return { key: apiKeyOf(answer.body), secret: answer.body.secret };
  };

  return {
    /**
     * Reads a page of the keys, by name.
     * @param {string} search part of a name, or the start of an id; empty for all keys
     * @param {string | null} [next] from the page before
     * @returns {Promise<{ keys: ApiKey[], next: string | null }>}
     */
    async list(search, next = null) {
      const query = new URLSearchParams({ limit: String(PAGE) });
      if (search !== "") query.set("search", search);
      const { body } = await request(next ?? `/api/keys?${query}`);
      return { keys: body.keys.map(apiKeyOf), next: body.next };
    },

    /** @param {KeyRequest} key */
    create: (key) => makeSecret("/api/keys", key),

    /** Makes a new secret. @param {string} id @param {number} keepOldSeconds how long the present one
     * stays valid */
    rotate: (id, keepOldSeconds) =>
      makeSecret(`${pathOf(id)}/rotate`, { keep_old_seconds: keepOldSeconds }),

    /** @param {string} id */
    async revoke(id) {
      await request(pathOf(id), { method: "DELETE" });
    },

    /** Signs out the browsers of a key. @param {string} id @returns {Promise<number>} how many */
    async endSessions(id) {
      return (await request(`${pathOf(id)}/sessions`, { method: "DELETE" })).body.sessions_ended;
    },

    /**
     * Reads a page of the audit log, newest first.
     * @param {{ action: string, key: string }} filter empty for all
     * @param {string | null} next from the page before
     * @returns {Promise<{ entries: AuditEntry[], next: string | null }>}
     */
    async audit(filter, next) {
      const query = new URLSearchParams({ limit: String(PAGE) });
      for (const [name, value] of Object.entries(filter)) if (value !== "") query.set(name, value);
      const { body } = await request(next ?? `/api/audit?${query}`);
      return { entries: body.entries.map(auditEntryOf), next: body.next };
    },

    /** Reads the requests that the server refused lately, newest first. @returns {Promise<Refusal[]>} */
    async refusals() {
      return (await request("/api/audit/refusals")).body.refusals.map(refusalOf);
    },
  };
}

/** @typedef {ReturnType<typeof createKeys>} Keys */
