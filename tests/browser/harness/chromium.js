// @ts-check
// The system's Chromium. Nothing is downloaded, and nothing is reached but this machine: whatever
// else it asks for goes to a proxy of ours, which refuses it and remembers it.

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

/** The program: from the environment's CHROMIUM, or the first that PATH has. */
export function program() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  const found = names.flatMap((name) => folders.map((folder) => path.join(folder, name)));
  const first = found.find((file) => existsSync(file));
  if (!first) throw new Error("Chromium is needed: apt-get install chromium, or set CHROMIUM");
  return first;
}

/** Refuses everything, and lists in `asked` what it was asked for. */
async function startProxy() {
  /** @type {string[]} */
  const asked = [];
  const proxy = http.createServer((request, answer) => {
    asked.push(`${request.method} ${request.url}`);
    answer.writeHead(502).end();
  });
  proxy.on("connect", (request, socket) => {
    asked.push(`CONNECT ${request.url}`);
    socket.destroy();
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (proxy.address());
  proxy.unref();
  return { asked, port };
}

/**
 * A browser process. Playwright gives it a user data folder of its own and, as every container
 * needs, no sandbox: it sees nothing but our own page.
 */
export async function startBrowser() {
  const proxy = await startProxy();
  const browser = await chromium.launch({
    executablePath: program(),
    args: [...flags, `--proxy-server=http://127.0.0.1:${proxy.port}`],
  });
  return { browser, asked: proxy.asked };
}
