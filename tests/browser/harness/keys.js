// @ts-check
// Servers with API keys, and pages that are signed in.

/** @typedef {import("./server.js").Server} Server */
/** @typedef {import("./stage.js").Stage} Stage */

/** A server with the key of an administrator. @param {Stage} stage @param {...string} flags */
export async function withKeys(stage, ...flags) {
  const size = flags.some((flag) => flag.startsWith("--pool-size")) ? [] : ["--pool-size=4"];
  const server = await stage.server(...size, ...flags);
  const admin = await server.createKey("ops", "admin");
  return { server, admin };
}

/** A page that is signed in. @param {Stage} stage @param {Server} server @param {string} key
 * @param {import("playwright-core").BrowserContext} [context] */
export async function signedIn(stage, server, key, context) {
  const dashboard = await stage.tab(server, context);
  await dashboard.loadSignedOut();
  await dashboard.signIn(key);
  return dashboard;
}
