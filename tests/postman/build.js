// @ts-check
// Builds the Postman collection and its environment: npm run build
//
// Methods, paths, parameters and descriptions come from docs/openapi.json, errors from the table in
// docs/api.md, names, values and tests from requests.js. Recorded examples are kept; `npm run
// examples` records them again.

import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "../browser/harness/server.js";
import { collectionFile, environmentFile, read, write } from "./harness/collection.js";
import { afterEach, folders, ifKeyed, samples, text, variables } from "./requests.js";

/** @typedef {import("./harness/collection.js").Json} Json */

const openapi = read(path.join(root, "docs/openapi.json"));
const api = readFileSync(path.join(root, "docs/api.md"), "utf8");

/** @type {Map<string, Json>} */
const operations = new Map();
for (const [route, methods] of Object.entries(openapi.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    operations.set(operation.operationId, { ...operation, route, method: method.toUpperCase() });
  }
}

/** Errors in the order of the table. @type {Map<string, { status: number, about: string }>} */
export const errors = new Map();
for (const [, status, code, about] of api.matchAll(/^\| (\d{3}) \| `([a-z-]+)` \| ([^|]+?) \|/gm)) {
  // Links lead from docs/api.md to elsewhere.
  const plain = about.replace(/\[([^\]]+)\]\([^)]+\)/g, "$1");
  errors.set(code, { status: Number(status), about: plain });
}

/** @param {Map<string, any>} map @param {string} name */
function get(map, name) {
  const found = map.get(name);
  if (!found) throw new Error(`no ${name} in the documents`);
  return found;
}

/** @param {string} name @param {any} script */
const event = (name, script) => ({
  listen: name,
  script: { type: "text/javascript", exec: text(script).split("\n") },
});

/** @param {Json} request @param {Json} operation */
function url({ path: id = "", query = {}, target }, operation) {
  if (target !== undefined) {
    const parts = target.startsWith("/") ? target.slice(1).split("/") : undefined;
    return parts
      ? { raw: `{{baseUrl}}${target}`, host: ["{{baseUrl}}"], path: parts }
      : { raw: `{{baseUrl}}${target}`, host: [`{{baseUrl}}${target}`] };
  }
  const values = [id].flat();
  const route = operation.route.replace(/\{\w+\}/g, () => values.shift() ?? "");
  /** @type {Json[]} */
  const parameters = (operation.parameters ?? []).filter((/** @type {Json} */ { in: place }) => place === "query");
  const about = (/** @type {string} */ name) => parameters.find((known) => known.name === name)?.description;
  const on = Object.entries(query).map(([key, value]) => ({ key, value, description: about(key) }));
  const off = parameters
    .filter(({ name }) => !(name in query))
    .map(({ name, description }) => ({
      key: name,
      value: /** @type {Json} */ (samples)[name] ?? "",
      description,
      disabled: true,
    }));
  const sent = on.map(({ key, value }) => `${key}=${value}`).join("&");
  return {
    raw: `{{baseUrl}}${route}${sent && `?${sent}`}`,
    host: ["{{baseUrl}}"],
    path: route.slice(1).split("/"),
    query: on.length + off.length > 0 ? [...on, ...off] : undefined,
  };
}

/** @param {Json} request @param {Json} operation */
function body({ body, form, raw, headers = {} }, operation) {
  if (form) {
    const schema = operation.requestBody.content["application/x-www-form-urlencoded"].schema;
    const { properties } = openapi.components.schemas[schema.$ref.split("/").at(-1)];
    const urlencoded = Object.entries(properties).map(([key, { description }]) =>
      key in form
        ? { key, value: form[key], description }
        : { key, value: /** @type {Json} */ (samples)[key] ?? "", description, disabled: true },
    );
    return { mode: "urlencoded", urlencoded };
  }
  if (!body && raw === undefined) return undefined;
  const language = (headers["Content-Type"] ?? "application/json").includes("json") ? "json" : "text";
  return { mode: "raw", raw: raw ?? JSON.stringify(body, null, 2), options: { raw: { language } } };
}

/** The header `Authorization`; a request without a key has none. @param {string} token */
const bearer = (token) => ({ type: "bearer", bearer: [{ key: "token", value: token, type: "string" }] });

/** @param {Json} request */
function item(request) {
  const { operation: id, code, name = code, about, needsKey, token, test, headers = {} } = request;
  const before = needsKey ? [ifKeyed, ...[request.before ?? []].flat()] : request.before;
  const operation = id ? get(operations, id) : {};
  const error = code && get(errors, code);
  const given = error ? [error.about, about] : about ? [about] : [operation.summary, operation.description];
  if (needsKey) given.push("Skipped unless the variable `apiKey` is set.");
  const tests = [];
  if (error) {
    tests.push(
      `pm.test("${error.status} ${code}", () => {\n  pm.response.to.have.status(${error.status});\n` +
        `  pm.expect(pm.response.json().code).to.eql("${code}");\n});`,
    );
  }
  if (test) tests.push(test);
  const type = request.body ? { "Content-Type": "application/json" } : {};
  return {
    name,
    event: [...(before ? [event("prerequest", before)] : []), event("test", tests)],
    request: {
      description: given.filter(Boolean).join("\n\n"),
      auth: token === "" ? { type: "noauth" } : token && bearer(token),
      method: request.method ?? operation.method,
      header: Object.entries({ ...type, ...headers }).map(([key, value]) => ({ key, value })),
      url: url(request, operation),
      body: body(request, operation),
    },
  };
}

/** @type {Record<string, string[]>} */
const declared = variables;
const settings = Object.entries(declared).filter(([, [, about]]) => about);

const about = `Exclusive, time-limited leases on tokens from pools: every route and the main errors, each with a description, a recorded response and tests. The whole API: docs/api.md.

Start a server (\`token-manager serve\`), import this collection and the environment, select the environment, and send "Allocate a token". Requests pass \`token_id\`, \`lease_id\` and \`fence\` on in variables, so within a folder send them from top to bottom, or run the folder. To run everything, use Postman's runner or newman:

    newman run TokenManager.postman_collection.json -e TokenManager.postman_environment.json

Run it on a pool without other users, as often as you like. It releases all that it takes; history remains, and two idempotency keys for a day. Requests for another policy than the pool's say so in the console and are skipped, and so are \`followEvents\` and \`allowClear\`. The variables:

${settings.map(([name, [value, text]]) => `- \`${name}\` (${value ? `\`${value}\`` : "empty"}): ${text}.`).join("\n")}`;

/** The collection with the examples of another one. @param {Json} recorded @returns {Json} */
export function build(recorded) {
  const requested = new Set(folders.flatMap(({ requests }) => requests.map((/** @type {Json} */ { code }) => code)));
  const rest = [...errors].filter(([code]) => !requested.has(code));
  const untried = rest.map(([code, { status, about }]) => `- \`${code}\` (${status}): ${about}`).join("\n");
  const old = new Map(
    recorded.item.flatMap((/** @type {Json} */ folder) =>
      folder.item.map((/** @type {Json} */ { name, response }) => [`${folder.name}/${name}`, response]),
    ),
  );
  const item_ = folders.map(({ name, about, requests }) => ({
    name,
    description:
      name === "Errors" ? `${about}\n\nA healthy server has no requests for these codes:\n\n${untried}` : about,
    item: requests.map((request) => {
      const built = item(request);
      return { ...built, response: old.get(`${name}/${built.name}`) ?? [] };
    }),
  }));
  const collection = {
    info: {
      _postman_id: recorded.info._postman_id,
      name: "TokenManager",
      description: about,
      schema: "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
    },
    auth: bearer("{{apiKey}}"),
    item: item_,
    event: [event("test", afterEach)],
    variable: Object.entries(declared).map(([key, [value, description]]) => ({ key, value, description })),
  };
  // Without members that are undefined.
  return JSON.parse(JSON.stringify(collection));
}

/** @returns {Json} */
export function environment() {
  const values = settings.map(([key, [value, description]]) => ({
    key,
    value,
    description,
    type: "default",
    enabled: true,
  }));
  return { ...read(environmentFile), name: "TokenManager, on this machine", values };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  write(collectionFile, build(read(collectionFile)));
  write(environmentFile, environment());
}
