// @ts-check
// The system's Chromium. It downloads nothing and reaches only this machine: other requests go to a proxy
// that refuses and records them.

import { once } from "node:events";
import { existsSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const flags = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The program: CHROMIUM in the environment, or the first one in the PATH. */
export function program() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  const found = names.flatMap((name) => folders.map((folder) => path.join(folder, name)));
  const first = found.find((file) => existsSync(file));
  if (!first) throw new Error("Chromium is needed: apt-get install chromium, or set CHROMIUM");
  return first;
}

// Hosts that Chromium itself contacts despite all flags. (Requests of the page, such as for fonts, are
// checked separately.)
const makers =
  /^(?!fonts\.|ajax\.|www\.)[a-z0-9.-]+\.(google|googleapis|gstatic|gvt1)\.com(:\d+)?$/;

/** Refuses everything, and lists the requested hosts in `asked`. */
async function startProxy() {
  /** @type {string[]} */
  const asked = [];
  const note = (/** @type {string} */ host) => makers.test(host) || asked.push(host);
  const proxy = http.createServer((request, answer) => {
    note(new URL(request.url ?? "", "http://nowhere").host);
    answer.writeHead(502).end();
  });
  proxy.on("connect", (request, socket) => {
    note(request.url ?? "");
    socket.destroy();
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (proxy.address());
  proxy.unref();
  return { asked, port };
}

/**
 * A browser process. Playwright gives it a new user data folder and, as containers need, no sandbox: it
 * only shows our own page.
 */
export async function startBrowser() {
  const proxy = await startProxy();
  const browser = await chromium.launch({
    executablePath: program(),
    args: [...flags, `--proxy-server=http://127.0.0.1:${proxy.port}`],
  });
  return { browser, asked: proxy.asked };
}
