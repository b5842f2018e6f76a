// @ts-check
// Which requests end leases, or delete something, so that the page asks before it sends them.

/** @typedef {"clear" | "release" | "drain" | "delete" | "rotate" | "sessions"} Danger */

/**
 * @param {{ method: string, path: string, body?: string, dryRun?: boolean, prune?: boolean
 * }} request with the path of its operation, such as /api/pools/{pool}
 * @returns {Danger | null}
 */
export function dangerOf({ method, path, body = "", dryRun = false, prune = false }) {
  if (dryRun) return null;
  const request = `${method.toUpperCase()} ${path}`;
  if (/^DELETE .*\/clear-active$|^POST .*\/clear$/.test(request)) return "clear";
  if (/^POST .*\/release(\/\{id\})?$/.test(request)) return "release";
  if (/^POST .*\/rotate$/.test(request)) return "rotate";
  if (/^DELETE .*\/sessions?$/.test(request)) return "sessions";
  // A taint is removed without a loss.
  if (/^DELETE /.test(request)) return path.includes("/taints/") ? null : "delete";
  if (/^POST .*\/taints$/.test(request)) return /end-lease/.test(body) ? "drain" : null;
  if (/^PUT /.test(request)) return prune || /"delete"\s*:\s*true/.test(body) ? "delete" : null;
  return null;
}
