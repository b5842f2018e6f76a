// @ts-check
// The committed collection, and a way to run it.

import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import newman from "newman";
import { root } from "../../browser/harness/server.js";

/** @typedef {Record<string, any>} Json */
/** @typedef {{ folder: string, item: Json, method: string, target: string, code: number, headers: Map<string, string>, body: string, reason: string }} Exchange */

export const collectionFile = path.join(root, "postman/TokenManager.postman_collection.json");
export const environmentFile = path.join(root, "postman/TokenManager.postman_environment.json");

/** @param {string} file @returns {Json} */
export const read = (file) => JSON.parse(readFileSync(file, "utf8"));

/** @param {string} file @param {Json} content */
export const write = (file, content) => writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);

/** @typedef {{ folder: string, item: Json }} Request */

/** All requests, each with its folder's name. @param {Json} collection @returns {Request[]} */
export const requestsOf = (collection) =>
  collection.item.flatMap((/** @type {Json} */ folder) =>
    folder.item.map((/** @type {Json} */ item) => ({ folder: folder.name, item })),
  );

/**
 * Policies to run the collection with. Together they skip only the requests behind a switch. The first server
 * has keys, and trusts the tests' own requests without one.
 */
export const policies = {
  "evict-oldest": ["--pool-size=3", "--trust-loopback"],
  wait: ["--pool-size=2", "--when-full=wait", "--max-per-user=1", "--max-lease=10m"],
  reject: ["--pool-size=2", "--when-full=reject"],
};

// Servers on this machine need no proxy.
process.env.NO_PROXY = process.env.no_proxy = "127.0.0.1,localhost";

/**
 * Switches with an administrator's key, for a server that has keys.
 * @param {import("../../browser/harness/server.js").Server} server
 * @param {string[]} settings
 * @returns {Promise<Record<string, string>>}
 */
export async function withKey(server, settings) {
  if (!settings.includes("--trust-loopback")) return {};
  const key = { name: "admin", rights: "admin", pools: ["*"], users: ["*"] };
  const { body } = await server.request("POST", "/api/keys", { body: key });
  return { apiKey: JSON.parse(`${body}`).secret };
}

/**
 * Runs the collection, or one of its folders, and returns requests, responses and failures.
 * @param {string} url of the server
 * @param {{ folder?: string, switches?: Record<string, string> }} [more]
 * @returns {Promise<{ exchanges: Exchange[], failures: string[], assertions: number }>}
 */
export function run(url, { folder, switches = {} } = {}) {
  const collection = read(collectionFile);
  const environment = read(environmentFile);
  const known = requestsOf(collection);
  known.forEach((request, at) => (request.item.id = `request-${at}`));
  const set = { baseUrl: url, ...switches };
  for (const name of Object.keys(set)) {
    const declared = environment.values.some((/** @type {Json} */ value) => value.key === name);
    if (!declared) throw new Error(`the environment has no ${name}`);
  }
  const envVar = Object.entries(set).map(([key, value]) => ({ key, value }));
  const options = {
    collection,
    environment,
    envVar,
    folder,
    reporters: [],
    timeoutRequest: 30_000,
  };
  return new Promise((resolve, reject) => {
    const running = newman.run(/** @type {any} */ (options), (error, summary) => {
      if (error) return reject(error);
      const failures = summary.run.failures
        .map(({ source, error }) => `${source?.name}: ${error.name}: ${error.message}`)
        .concat(thrown);
      resolve({ exchanges, failures, assertions: summary.run.stats.assertions.total ?? 0 });
    });
    // Requests of scripts are reported too. A request's own response is the last one before its tests
    // begin; those of a skipped request don't.
    /** @type {Exchange[]} */
    const exchanges = [];
    // newman does not count exceptions in callbacks of a script as failures.
    /** @type {string[]} */
    const thrown = [];
    /** @type {Json | null} */
    let latest = null;
    running.on("exception", (error, told) => thrown.push(`${error ?? told.error?.message}`));
    running.on("request", (error, told) => (latest = error ? null : told));
    running.on("beforeTest", (error, told) => {
      if (error || latest?.item.id !== told.item.id) return;
      const { request, response } = /** @type {Json} */ (latest);
      const asked = known.find(({ item }) => item.id === told.item.id);
      if (!asked) throw new Error(`unknown request: ${told.item.name}`);
      exchanges.push({
        ...asked,
        method: request.method,
        target: request.url.getPathWithQuery(),
        code: response.code,
        reason: response.reason(),
        headers: new Map(
          response.headers.map((/** @type {Json} */ { key, value }) => [key.toLowerCase(), value]),
        ),
        body: response.text(),
      });
      latest = null;
    });
  });
}

/**
 * The beginning of a stream of events, up to the first one named `last`.
 * @param {import("../../browser/harness/server.js").Server} server
 * @param {string} target
 * @param {string} last
 * @returns {Promise<Pick<Exchange, "code" | "reason" | "headers" | "body">>}
 */
export function follow(server, target, last) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: server.port, path: target, timeout: 20_000 };
    const request = http.get({ ...options, agent: false }, (answer) => {
      let body = "";
      answer.setEncoding("utf8");
      answer.on("data", (part) => {
        body += part;
        const at = body.indexOf("\n\n", Math.max(body.indexOf(`event: ${last}\n`), 0));
        if (!body.includes(`event: ${last}\n`) || at < 0) return;
        request.destroy();
        const { statusCode: code = 0, statusMessage: reason = "" } = answer;
        const headers = new Map(
          Object.entries(answer.headers).map(([name, value]) => [name, String(value)]),
        );
        resolve({ code, reason, headers, body: body.slice(0, at + 2) });
      });
      answer.on("end", () => reject(new Error(`the stream ended: ${body}`)));
    });
    request.on("timeout", () => request.destroy(new Error(`no event ${last} in time`)));
    request.on("error", reject);
  });
}

/**
 * A stream with the events of one lease, from its start to its end.
 * @param {import("../../browser/harness/server.js").Server} server
 */
export async function followLease(server) {
  const { epoch, version } = await server.pool();
  const lease = await server.allocate("postman-follower");
  await server.release(lease.lease_id);
  const query = `token_id=${lease.token_id}&last_event_id=${epoch}-${version}`;
  return follow(server, `/api/events?${query}`, "lease.ended");
}
