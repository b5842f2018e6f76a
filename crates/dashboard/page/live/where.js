// @ts-check

/**
 * The pool whose page has this path; null at `/`, which shows the only pool or the list of all.
 * @param {string} [path]
 * @returns {string | null}
 */
export function poolInPath(path = globalThis.location?.pathname ?? "") {
  const name = /^\/+pools\/+([^/]+)\/*$/.exec(path)?.[1];
  try {
    return name === undefined ? null : decodeURIComponent(name);
  } catch {
    // Not a name of a pool, so it leads to the message about an unknown one.
    return name ?? null;
  }
}

/** The path of a pool's page. @param {string} pool @param {string} [hash] such as `token=a-1` */
export const poolPath = (pool, hash = "") =>
  `/pools/${encodeURIComponent(pool)}${hash && `#${hash}`}`;
