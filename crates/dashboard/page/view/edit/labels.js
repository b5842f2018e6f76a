// @ts-check
// Labels as people write them: "region=eu, size=large".

/**
 * @param {string} text
 * @returns {Record<string, string> | string} the labels, or the part that is not one
 */
export function labelsIn(text) {
  /** @type {Record<string, string>} */
  const labels = {};
  for (const part of text.split(/[\s,]+/).filter(Boolean)) {
    const at = part.indexOf("=");
    if (at < 1) return part;
    labels[part.slice(0, at)] = part.slice(at + 1);
  }
  return labels;
}

/** @param {Record<string, string>} labels */
export const labelsText = (labels) =>
  Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(", ");
