// @ts-check
// The collection on real servers, and as a file.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { Server, root } from "../browser/harness/server.js";
import { build, environment, errors } from "./build.js";
import {
  collectionFile,
  environmentFile,
  followLease,
  policies,
  read,
  requestsOf,
  run,
  withKey,
} from "./harness/collection.js";

/** @typedef {import("./harness/collection.js").Exchange} Exchange */
/** @typedef {import("./harness/collection.js").Json} Json */

const collection = read(collectionFile);
const requests = requestsOf(collection);
const api = readFileSync(path.join(root, "docs/api.md"), "utf8");

/** @type {{ method: string, path: string }[]} */
const routes = Array.from(
  api.split("\n## Routes\n")[1].split("\n## ")[0].matchAll(/`([A-Z]+) (\/[^`]*)`/g),
  ([, method, path]) => ({ method, path }),
);

/** The route that never ends; its head is requested instead. */
const endless = "/api/events";
const skippedAlways = "Follow a token";

/** @param {import("./harness/collection.js").Request} request */
const nameOf = ({ folder, item }) => `${folder}: ${item.name}`;

/** Whether a documented route has this path. @param {string} route @param {string} target */
function leadsTo(route, target) {
  const asked = target.split("?")[0];
  const pattern = route
    .split(/(\{[^}]+\}|\.\.\.)/)
    .map((part) =>
      part === "..."
        ? ".+"
        : part.startsWith("{")
          ? "[^/]+"
          : part.replace(/[.*+?^$()|[\]\\]/g, "\\$&"),
    )
    .join("");
  return new RegExp(`^${pattern}$`).test(asked);
}

/**
 * Compares the members of two JSON values and their types. Null matches any type, an empty list any
 * list.
 * @param {any} a
 * @param {any} b
 * @param {string} at
 */
function sameMembers(a, b, at) {
  if (a === null || b === null) return;
  assert.equal(typeof a, typeof b, at);
  assert.equal(Array.isArray(a), Array.isArray(b), at);
  if (Array.isArray(a)) {
    if (a.length > 0 && b.length > 0) sameMembers(a[0], b[0], `${at}[0]`);
  } else if (typeof a === "object") {
    assert.deepEqual(Object.keys(a).sort(), Object.keys(b).sort(), at);
    for (const key of Object.keys(a)) sameMembers(a[key], b[key], `${at}.${key}`);
  }
}

/** Headers that depend on the size of a response. */
const varying = new Set([
  "content-encoding",
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "link",
  "vary",
]);

/** @param {Iterable<string>} names */
const lasting = (names) => [...names].filter((name) => !varying.has(name)).sort();

/** @param {Json} item @param {Pick<Exchange, "code" | "headers" | "body">} answer */
function likeExample(item, { code, headers, body }) {
  const [example] = item.response;
  const at = `the example of "${item.name}" (npm run examples records it again)`;
  assert.equal(code, example.code, at);
  const names = example.header.map((/** @type {Json} */ { key }) => key);
  assert.deepEqual(lasting(headers.keys()), lasting(names), at);
  const shown = example.header.find((/** @type {Json} */ { key }) => key === "content-type")?.value;
  assert.equal(headers.get("content-type"), shown, at);
  if (example.name.endsWith("its beginning")) assert.equal(body.slice(0, 16), example.body.slice(0, 16), at);
  else if (shown?.includes("json")) sameMembers(JSON.parse(body), JSON.parse(example.body), at);
  else if (shown?.includes("csv"))
    assert.equal(body.split("\r\n")[0], example.body.split("\r\n")[0], at);
}

/** @type {Exchange[]} */
const all = [];
let assertions = 0;

for (const [policy, settings] of Object.entries(policies)) {
  test(`it passes twice in a row under the policy ${policy} and leaves nothing behind`, async (test) => {
    const server = await Server.start(test, ...settings);
    const keys = await withKey(server, settings);
    for (const allowClear of ["false", "true"]) {
      const ran = await run(server.url, { switches: { allowClear, ...keys } });
      assert.deepEqual(ran.failures, []);
      const cleared = ran.exchanges.filter(({ target }) => target === "/api/tokens/clear-active");
      assert.equal(cleared.length, allowClear === "true" ? 1 : 0);
      if (allowClear === "true") {
        assert.equal(ran.exchanges.at(-1), cleared[0], "to clear is the last");
        assert.equal(
          JSON.parse(cleared[0].body).tokens_cleared,
          0,
          "no lease was left to clear",
        );
      }
      const { active, waiting } = await server.pool();
      assert.deepEqual({ active, waiting }, { active: 0, waiting: 0 });
      all.push(...ran.exchanges);
      assertions += ran.assertions;
    }
  });
}

test("each folder passes by itself, in any order", async (test) => {
  const server = await Server.start(test, ...policies["evict-oldest"]);
  for (const { name } of [...collection.item].reverse()) {
    const { failures, exchanges } = await run(server.url, { folder: name });
    assert.deepEqual(failures, [], name);
    assert.deepEqual(
      new Set(exchanges.map(({ folder }) => folder)),
      new Set(["Clear", "API keys"].includes(name) ? [] : [name]),
    );
    assert.equal((await server.pool()).active, 0, name);
  }
});

test("it leaves a pool alone that is in use or large", async (test) => {
  const server = await Server.start(test, "--pool-size=2");
  const lease = await server.allocate("other");
  // Under this policy the folder evicts a lease, unless the pool is in use.
  const used = await run(server.url, { folder: "Tokens" });
  assert.deepEqual(used.failures, []);
  const { status } = await server.ask("GET", `/api/leases/${lease.lease_id}`);
  assert.equal(status, "active");
  await server.release(lease.lease_id);
  const { failures, exchanges } = await run(server.url, {
    folder: "Tokens",
    switches: { fillAtMost: "1" },
  });
  assert.deepEqual(failures, []);
  assert.equal(exchanges.filter(({ item }) => item.name.includes("full pool")).length, 0);
});

test("a failure is noticed", async (test) => {
  const server = await Server.start(test, "--pool-size=1");
  const { failures } = await run(`${server.url}/nowhere`, { folder: "Health" });
  assert.ok(failures.length >= 3, failures.join("\n"));
  await server.end();
  const gone = await run(server.url, { folder: "Health" });
  assert.ok(gone.failures.length >= 3, gone.failures.join("\n"));
});

test("every request was sent, except the stream that never ends", () => {
  const sent = new Set(all.map(nameOf));
  assert.deepEqual(
    requests.map(nameOf).filter((name) => !sent.has(name)),
    [`Events: ${skippedAlways}`],
  );
  assert.ok(assertions > (3 * all.length) / 2, `${assertions} tests of ${all.length} answers`);
});

test("every route of docs/api.md is requested with success", () => {
  assert.ok(routes.length >= 18, "the table was read");
  const missing = routes.filter(({ method, path }) => {
    const wanted = path === endless ? "HEAD" : method;
    return !all.some(
      (done) => done.method === wanted && done.code < 300 && leadsTo(path, done.target),
    );
  });
  assert.deepEqual(missing, [], "routes without a request");
});

test("every error of docs/api.md is requested or described", () => {
  assert.ok(errors.size >= 30, "the table was read");
  const described = collection.item.find(
    (/** @type {Json} */ { name }) => name === "Errors",
  ).description;
  const met = new Set(
    all
      .filter(({ code, method }) => code >= 400 && method !== "HEAD")
      .map(({ code, body }) => `${code} ${JSON.parse(body).code}`),
  );
  for (const [code, { status }] of errors) {
    assert.notEqual(met.has(`${status} ${code}`), described.includes(`- \`${code}\``), `${status} ${code}`);
  }
});

test("the collection is built from the documents (npm run build)", () => {
  assert.deepEqual(collection, build(collection));
  assert.deepEqual(read(environmentFile), environment());
});

test("examples have the members of current responses", async (test) => {
  for (const { item, ...answer } of all) likeExample(item, answer);
  const server = await Server.start(test, "--pool-size=1");
  const stream = await followLease(server);
  const found = requests.find(({ item }) => item.name === skippedAlways);
  assert.ok(found);
  likeExample(found.item, stream);
  const eventsOf = (/** @type {string} */ text) =>
    Array.from(text.matchAll(/^event: (.+)\nid: .+\ndata: (.+)$/gm), ([, event, data]) => ({
      event,
      ...JSON.parse(data),
    }));
  const now = eventsOf(stream.body);
  const shown = eventsOf(found.item.response[0].body);
  for (const events of [now, shown]) {
    assert.deepEqual(
      events.map(({ event }) => event),
      ["lease.started", "lease.ended"],
    );
  }
  now.forEach((event, at) => sameMembers(event, shown[at], event.event));
});

test("each request is described, tested, and has an example", () => {
  assert.equal(
    collection.info.schema,
    "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
  );
  assert.equal(new Set(requests.map(nameOf)).size, requests.length, "names are unique in a folder");
  for (const folder of collection.item) assert.ok(folder.description.length > 10, folder.name);
  for (const request of requests) {
    const name = nameOf(request);
    const { item } = request;
    assert.ok(item.request.description.length > 10, `${name} is described`);
    const script = (/** @type {string} */ listen) =>
      item.event
        .find((/** @type {Json} */ event) => event.listen === listen)
        ?.script.exec.join("\n") ?? "";
    assert.match(script("test"), /pm\.test\(/, `${name} is tested`);
    assert.equal(item.response.length, 1, `${name} has an example`);
    assert.ok(item.request.url.raw.startsWith("{{baseUrl}}"), name);
    if (script("prerequest").includes("skipRequest")) {
      assert.match(item.request.description, /skipped/i, `${name} says when it is skipped`);
    }
  }
});

test("variables are declared, and the environment's are the collection's", () => {
  const environment = read(environmentFile);
  const declared = new Map(
    collection.variable.map((/** @type {Json} */ { key, value }) => [key, value]),
  );
  for (const { key, value } of environment.values) assert.equal(declared.get(key), value, key);
  const text = JSON.stringify(collection);
  const used = [
    ...text.matchAll(/\{\{(\w+)\}\}/g),
    ...text.matchAll(/(?:pm\.variables|collectionVariables)\.(?:get|set)\(\\"(\w+)\\"/g),
  ].map(([, name]) => name);
  const own = ["large"];
  for (const name of new Set(used)) assert.ok(declared.has(name) || own.includes(name), name);
  for (const name of declared.keys()) assert.ok(used.includes(name), `${name} is used`);
});

/** Every text in it. @param {any} value @returns {string[]} */
const textsOf = (value) =>
  typeof value === "string"
    ? [value]
    : value !== null && typeof value === "object"
      ? Object.values(value).flatMap(textsOf)
      : [];

test("no value is a secret, or belongs to a machine", () => {
  const machine = [os.homedir(), root, `${os.userInfo().username}@`].filter(
    (name) => name.length > 3,
  );
  const forbidden = [
    /(?:^|["'\s=(])\/(?:home|root|Users|tmp|var|work|mnt|opt|etc)\//,
    /\b[A-Za-z]:\\(?:Users|Windows|Program|Temp)/i,
    /file:\/\//,
    /\bPMAK-/,
    /\b(?:bearer|basic) [\w.+/=-]{8,}/i,
    /\btm_\w{12}_/,
    /token-manager=[^.]/,
    /\b(?:password|passwd)\b/i,
    /\/\/[^/\s"]+:[^/\s"]+@/,
    /-----BEGIN/,
    /(?:localhost|127\.0\.0\.1|\[::1\]):(?!4000\b)\d+/,
  ];
  for (const file of [collectionFile, environmentFile]) {
    const content = read(file);
    for (const text of textsOf(content)) {
      for (const pattern of forbidden) {
        assert.ok(
          !pattern.test(text),
          `${pattern} in ${path.basename(file)}: ${text.slice(0, 200)}`,
        );
      }
      for (const name of machine)
        assert.ok(!text.includes(name), `${name} in ${path.basename(file)}`);
    }
    const { values = [], variable = [] } = content;
    for (const { key, type } of [...values, ...variable]) assert.notEqual(type, "secret", key);
  }
  const tokens = [collection, ...requests.map(({ item }) => item.request)].flatMap(({ auth }) => auth?.bearer ?? []);
  for (const { value } of tokens) assert.match(value, /^\{\{\w+\}\}$|^tm_wrong$/);
});
