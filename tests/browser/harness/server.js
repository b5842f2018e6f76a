// @ts-check
// A server for each test, on a free port and in a temporary folder.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../../", import.meta.url));

const binary =
  process.env.TOKEN_MANAGER_BIN ??
  path.resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "debug/token-manager");

const startMs = 20_000;

/** @typedef {Record<string, any>} Json */

export class Server {
  /** @type {import("node:child_process").ChildProcess | null} */
  #process = null;
  #folder = mkdtempSync(path.join(tmpdir(), "token-manager-browser-"));
  #agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  /** @type {string[]} */
  #settings;
  /** The API key that the requests of the test send. @type {string | null} */
  key = null;
  /** Lines of its log. @type {string[]} */
  log = [];
  port = 0;

  /** @param {string[]} settings */
  constructor(settings) {
    this.#settings = settings;
  }

  /**
   * Starts one, which ends with the test.
   * @param {{ after(done: () => Promise<void>): void }} test
   * @param {...string} settings flags of `serve`, as "--pool-size=2"
   */
  static async start(test, ...settings) {
    const server = new Server(settings);
    test.after(() => server.remove());
    await server.run();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts the process: the first time on any port, later on the same one. */
  async run() {
    if (!existsSync(binary)) throw new Error(`there is no ${binary}: cargo build -p token-manager`);
    const child = spawn(
      binary,
      [
        "serve",
        `--database=sqlite:${this.#folder}/pool.db`,
        `--listen=127.0.0.1:${this.port}`,
      ].concat(this.#settings),
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#process = child;
    createInterface({ input: child.stderr }).on("line", (line) => this.log.push(line));
    const lines = createInterface({ input: child.stdout });
    const [line] = await Promise.race([
      once(lines, "line", { signal: AbortSignal.timeout(startMs) }),
      once(child, "exit").then(() => {
        throw new Error(`the server did not start:\n${this.log.join("\n")}`);
      }),
    ]);
    const found = /http:\/\/[^:]+:(\d+)/.exec(line);
    if (!found) throw new Error(`not understood: ${line}`);
    this.port = Number(found[1]);
  }

  /**
   * Runs for a moment on another port, where the pages don't find it, so that what happens then
   * happens behind their backs.
   * @param {() => Promise<void>} meanwhile
   */
  async elsewhere(meanwhile) {
    const { port } = this;
    this.port = 0;
    await this.run();
    await meanwhile();
    await this.end();
    this.port = port;
  }

  /** @param {NodeJS.Signals} signal */
  signal(signal) {
    this.#process?.kill(signal);
  }

  /** Runs again, with further flags. @param {...string} settings */
  async again(...settings) {
    await this.end("SIGTERM");
    this.#settings.push(...settings);
    await this.run();
  }

  /** Ends the process and waits until it is gone. @param {NodeJS.Signals} [signal] */
  async end(signal = "SIGKILL") {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  async remove() {
    this.#agent.destroy();
    await this.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Number of requests with this path. @param {string} requested */
  taken(requested) {
    return this.log.filter((line) => line.includes(` path=${requested} `)).length;
  }

  /**
   * A raw answer, uncompressed.
   * @param {string} method
   * @param {string} target
   * @param {{ headers?: http.OutgoingHttpHeaders, body?: Json }} [more]
   * @returns {Promise<{ status: number, headers: http.IncomingHttpHeaders, body: Buffer }>}
   */
  request(method, target, { headers = {}, body } = {}) {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    if (sent !== undefined) headers = { "content-type": "application/json", ...headers };
    if (this.key !== null) headers = { authorization: `Bearer ${this.key}`, ...headers };
    return new Promise((resolve, reject) => {
      const { port } = this;
      const options = {
        host: "127.0.0.1",
        port,
        method,
        path: target,
        headers,
        agent: this.#agent,
      };
      const request = http.request({ ...options, timeout: 20_000 }, (answer) => {
        /** @type {Buffer[]} */
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("error", reject);
        answer.on("end", () => {
          const { statusCode: status = 0, headers: answered } = answer;
          resolve({ status, headers: answered, body: Buffer.concat(parts) });
        });
      });
      request.on("timeout", () => request.destroy(new Error(`${method} ${target} timed out`)));
      request.on("error", reject);
      request.end(sent);
    });
  }

  /**
   * What a route answers, which has to be a success.
   * @param {string} method
   * @param {string} target
   * @param {Json} [body]
   * @returns {Promise<any>}
   */
  async ask(method, target, body) {
    const answer = await this.request(method, target, { body });
    const text = answer.body.toString();
    if (answer.status > 201) throw new Error(`${method} ${target}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  /**
   * Creates an API key. The requests of the test send the first one from then on.
   * @param {string} name
   * @param {"read" | "use" | "operate" | "admin"} rights
   * @param {Json} [more]
   * @returns {Promise<string>} its secret
   */
  async createKey(name, rights, more = {}) {
    const users = rights === "read" ? [] : ["*"];
    const { secret } = await this.ask("POST", "/api/keys", { name, rights, pools: ["*"], users, ...more });
    this.key ??= secret;
    return secret;
  }

  /** @param {string} user @param {number} [leaseSeconds] */
  allocate(user, leaseSeconds) {
    return this.ask("POST", "/api/tokens/allocate", { user_id: user, lease_seconds: leaseSeconds });
  }

  /** @param {string} lease */
  release(lease) {
    return this.ask("POST", `/api/leases/${lease}/release`);
  }

  /**
   * Creates or changes a pool.
   * @param {string} pool
   * @param {Json} document
   */
  put(pool, document) {
    return this.ask("PUT", `/api/pools/${pool}`, document);
  }

  /** @param {string} pool @param {Json} request */
  allocateFrom(pool, request) {
    return this.ask("POST", `/api/pools/${pool}/allocate`, request);
  }

  /**
   * Tokens with the names of their holders.
   * @param {string} [pool]
   * @returns {Promise<Json[]>}
   */
  async tokens(pool = "default") {
    if (pool === "default") return this.ask("GET", "/api/tokens");
    const { tokens } = await this.ask("GET", `/api/pools/${pool}/tokens`);
    return tokens.map((/** @type {Json} */ token) => ({ ...token, user: token.lease?.user ?? null }));
  }

  /** @param {string} [pool] */
  pool(pool = "default") {
    return this.ask("GET", pool === "default" ? "/api/pool" : `/api/pools/${pool}`);
  }
}
