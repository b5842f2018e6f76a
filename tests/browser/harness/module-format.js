// @ts-check

/**
 * @param {string} url
 * @param {object} context
 * @param {(url: string, context: object) => unknown} next
 */
export function load(url, context, next) {
  return next(url, url.includes("/dashboard/") ? { ...context, format: "module" } : context);
}
