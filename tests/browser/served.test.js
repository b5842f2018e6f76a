// @ts-check
// The files of the page, as the server hands them out and as they are written.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import zlib from "node:zlib";
import { Server, root } from "./harness/server.js";

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
];

const folder = path.join(root, "crates/dashboard/page");
const shipped = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.(html|js|css|svg)$/.test(file))
  .map((file) => ({ file, text: readFileSync(path.join(folder, file), "utf8") }));

const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** @param {Server} server */
async function digestOf(server) {
  const { body } = await server.request("GET", "/");
  const digests = new Set(
    Array.from(body.toString().matchAll(/\/assets\/([^/"]+)\//g), (m) => m[1]),
  );
  assert.equal(digests.size, 1, `one digest for all files: ${[...digests]}`);
  return [...digests][0];
}

test("the page comes with a strict policy, and is asked for again each time", async (test) => {
  const server = await Server.start(test, "--pool-size=1");
  const { status, headers, body } = await server.request("GET", "/");
  assert.equal(status, 200);
  assert.equal(headers["content-type"], types[".html"]);
  const sent = String(headers["content-security-policy"])
    .split(";")
    .map((part) => part.trim());
  assert.deepEqual(
    sent.filter((part) => part !== ""),
    policy,
  );
  assert.equal(headers["x-content-type-options"], "nosniff");
  assert.match(String(headers["cache-control"]), /no-cache|no-store/);
  assert.match(body.toString(), /<html[^>]* lang=/);

  const { etag } = headers;
  assert.ok(etag);
  const again = await server.request("GET", "/", { headers: { "if-none-match": etag } });
  assert.equal(again.status, 304);
  assert.equal(again.body.length, 0);
  const head = await server.request("HEAD", "/");
  assert.equal(head.status, 200);
  assert.equal(head.body.length, 0);
});

test("every file is there for good under its digest, compressed beforehand", async (test) => {
  const server = await Server.start(test, "--pool-size=1");
  const digest = await digestOf(server);
  for (const { file, text } of shipped.filter(({ file }) => !file.endsWith(".html"))) {
    const target = `/assets/${digest}/${file}`;
    const plain = await server.request("GET", target);
    assert.equal(plain.status, 200, target);
    assert.equal(plain.body.toString(), text, target);
    const type = /** @type {Record<string, string>} */ (types)[path.extname(file)];
    assert.equal(plain.headers["content-type"], type, target);
    assert.match(String(plain.headers["cache-control"]), /max-age=31536000.*immutable/, target);
    assert.equal(plain.headers["x-content-type-options"], "nosniff", target);
    assert.match(String(plain.headers.vary), /accept-encoding/i, target);
    if (file.endsWith(".js")) {
      // A worker has the policy of its own script.
      const sent = String(plain.headers["content-security-policy"]);
      assert.match(sent, /default-src 'none'/, target);
      assert.match(sent, /connect-src 'self'/, target);
    }
    for (const [encoding, unpack] of Object.entries(unpacks)) {
      const packed = await server.request("GET", target, {
        headers: { "accept-encoding": encoding },
      });
      if (text.length < 1024 && packed.headers["content-encoding"] === undefined) continue;
      assert.equal(packed.headers["content-encoding"], encoding, target);
      assert.equal(unpack(packed.body).toString(), text, target);
      assert.ok(packed.body.length < text.length, target);
    }
  }
});

const unpacks = { br: zlib.brotliDecompressSync, gzip: zlib.gunzipSync };

test("what there is not is a problem document", async (test) => {
  const server = await Server.start(test, "--pool-size=1");
  const digest = await digestOf(server);
  const missing = [
    `/assets/${digest}/nothing.js`,
    "/assets/",
    `/assets/${digest}/../pool.html`,
    "/x",
  ];
  for (const target of missing) {
    const { status, headers, body } = await server.request("GET", target);
    assert.equal(status, 404, target);
    assert.match(String(headers["content-type"]), /json/);
    assert.equal(JSON.parse(body.toString()).code, "unknown-path", target);
    assert.doesNotMatch(String(headers["cache-control"]), /immutable/, "not remembered");
  }
  const posted = await server.request("POST", "/", { body: {} });
  assert.equal(posted.status, 405);
});

test("no file knows an address outside", () => {
  assert.ok(shipped.length > 10, "the files were found");
  for (const { file, text } of shipped) {
    const addresses = text.match(/(?:https?:|wss?:)?\/\/[a-z0-9-]+\.[a-z0-9.-]+/gi) ?? [];
    const foreign = addresses.filter((address) => !/^https?:\/\/www\.w3\.org$/.test(address));
    assert.deepEqual(foreign, [], file);
  }
});

test("no file makes markup or code out of text", () => {
  const forbidden = [
    /\b(?:inner|outer)HTML\b/,
    /\binsertAdjacentHTML\b/,
    /\bsetHTMLUnsafe\b/,
    /\bparseHTMLUnsafe\b/,
    /\bDOMParser\b/,
    /\bcreateContextualFragment\b/,
    /\bdocument\.write/,
    /\beval\s*\(/,
    /\bnew Function\b/,
    /\bset(?:Timeout|Interval)\(\s*["'`]/,
    /\bsrcdoc\b/,
    /javascript:/,
  ];
  for (const { file, text } of shipped) {
    for (const pattern of forbidden) assert.doesNotMatch(text, pattern, file);
    if (file.endsWith(".html")) {
      assert.doesNotMatch(text, /\son[a-z]+\s*=|\sstyle\s*=|<style|<script(?![^>]*\ssrc=)/i, file);
    }
    if (file.endsWith(".js")) assert.match(text, /^\/\/ @ts-check\n/, file);
  }
});

test("both languages have the same words, with the same gaps", async () => {
  const { en } = await import("../../crates/dashboard/page/words/en.js");
  const { pt } = await import("../../crates/dashboard/page/words/pt.js");
  const keys = (/** @type {object} */ words) => Object.keys(words).sort();
  assert.deepEqual(keys(pt), keys(en));
  assert.ok(keys(en).length > 30);
  for (const [key, words] of Object.entries(en)) {
    const other = /** @type {Record<string, unknown>} */ (pt)[key];
    const gaps = (/** @type {unknown} */ text) => new Set(JSON.stringify(text).match(/\{\w+\}/g));
    assert.deepEqual(gaps(other), gaps(words), key);
    assert.notEqual(JSON.stringify(other), '""', key);
  }
});
