// @ts-check
// HAProxy in front of a server, with the configuration of deploy/haproxy.cfg.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { root } from "./server.js";
import { until } from "./wait.js";

/** A free port. */
async function freePort() {
  const listener = net.createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = /** @type {net.AddressInfo} */ (listener.address());
  listener.close();
  await once(listener, "close");
  return port;
}

/**
 * The shipped configuration for one server on this machine, without the names of containers.
 * @param {number} port
 * @param {number} behind
 */
function configuration(port, behind) {
  const shipped = readFileSync(path.join(root, "deploy/haproxy.cfg"), "utf8");
  const adapted = shipped
    .replace(/^resolvers containers\n(?: +.*\n)+/m, "")
    .replace(" resolvers containers resolve-prefer ipv4 init-addr libc,none", "")
    .replace("bind :4000", `bind 127.0.0.1:${port}`)
    .replace(/^ +server server-2 .*\n/m, "")
    .replace("server-1:4000", `127.0.0.1:${behind}`);
  if (/resolvers|:4000/.test(adapted)) throw new Error(`deploy/haproxy.cfg changed:\n${adapted}`);
  return adapted;
}

/**
 * Starts HAProxy in front of a server. It ends with the test.
 * @param {{ after(done: () => Promise<void>): void }} test
 * @param {import("./server.js").Server} server
 * @returns {Promise<string>} its URL
 */
export async function startProxy(test, { port: behind }) {
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), "token-manager-proxy-"));
  const file = path.join(folder, "haproxy.cfg");
  writeFileSync(file, configuration(port, behind));
  // Debian installs it outside of the PATH of users.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  const child = spawn("haproxy", ["-db", "-f", file], { env, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const output of [child.stdout, child.stderr]) output.on("data", (text) => (said += text));
  const gone = once(child, "exit");
  test.after(async () => {
    child.kill("SIGKILL");
    await gone;
    rmSync(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  await until("HAProxy reaches the server", async () => {
    if (child.exitCode !== null) throw new Error(`HAProxy did not start:\n${said}`);
    return fetch(`${url}/health/live`).then(({ ok }) => ok, () => false);
  }, 10_000);
  return url;
}
