// @ts-check
// Builds the collection and records its examples from real servers: npm run examples
//
// A request gets its response under the first policy that does not skip it.

import { Server } from "../browser/harness/server.js";
import { build, environment } from "./build.js";
import {
  collectionFile,
  environmentFile,
  followLease,
  policies,
  read,
  requestsOf,
  run,
  withKey,
  write,
} from "./harness/collection.js";

// Headers of the connection, not of the response.
const carried = [
  "content-encoding",
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
];

/** Maximum length of pages and files; only their beginning is recorded. */
const most = 600;

/** Maximum length of other responses. */
const longest = 20_000;

/** The beginning of a body, in whole lines if possible. @param {string} body */
function beginningOf(body) {
  const end = body.lastIndexOf("\n", most);
  return end > 0 ? body.slice(0, end + 1) : body.slice(0, most);
}

/** @param {string} type */
const languageOf = (type) =>
  type.includes("json") ? "json" : type.includes("html") ? "html" : "text";

const collection = build(read(collectionFile));
const requests = requestsOf(collection);

/** A text without keys and cookies. @param {string} text */
const masked = (text) =>
  text.replace(/\btm_\w{12}_\w+/g, "tm_...").replace(/(token-manager=)[^;]+/g, "$1...");

/** @param {string} folder @param {string} name @param {Pick<import("./harness/collection.js").Exchange, "code" | "reason" | "headers" | "body">} answer */
function keep(folder, name, { code, reason, headers, body }) {
  const found = requests.filter(
    (request) => request.folder === folder && request.item.name === name,
  );
  if (found.length !== 1) throw new Error(`not one request ${folder}/${name}`);
  const [{ item }] = found;
  if (item.response.length > 0) return;
  const type = headers.get("content-type") ?? "";
  const cut = body.length > (/html|css|javascript|plain/.test(type) ? most : longest);
  item.response.push({
    name: `${code} ${reason}${cut ? ", its beginning" : ""}`,
    originalRequest: sent(item.request),
    status: reason,
    code,
    _postman_previewlanguage: languageOf(type),
    header: [...headers]
      .filter(([key]) => !carried.includes(key))
      .map(([key, value]) => ({ key, value: masked(value) })),
    cookie: [],
    body: masked(cut ? beginningOf(body) : body),
  });
}

/** A request without its disabled parts. @param {any} request */
function sent({ description, ...request }) {
  const bare = (/** @type {any[]} */ list) =>
    list.filter(({ disabled }) => !disabled).map(({ key, value }) => ({ key, value }));
  const { query, ...url } = request.url;
  const header = bare(request.header);
  const body = request.body?.urlencoded
    ? { ...request.body, urlencoded: bare(request.body.urlencoded) }
    : request.body;
  return { ...request, header, body, url: query ? { ...url, query: bare(query) } : url };
}

for (const { item } of requests) item.response = [];
// The run below reads the files.
write(collectionFile, collection);
write(environmentFile, environment());
/** @type {(() => Promise<void>)[]} */
const ends = [];
const test = { after: (/** @type {() => Promise<void>} */ end) => void ends.push(end) };
try {
  for (const settings of Object.values(policies)) {
    const server = await Server.start(test, ...settings);
    const keys = await withKey(server, settings);
    const { exchanges, failures } = await run(server.url, { switches: { allowClear: "true", ...keys } });
    if (failures.length > 0) throw new Error(failures.join("\n"));
    for (const exchange of exchanges) keep(exchange.folder, exchange.item.name, exchange);
    keep("Events", "Follow a token", await followLease(server));
  }
} finally {
  for (const end of ends) await end();
}
const without = requests.filter(({ item }) => item.response.length === 0);
if (without.length > 0) throw new Error(`not recorded: ${without.map(({ item }) => item.name)}`);
write(collectionFile, collection);
