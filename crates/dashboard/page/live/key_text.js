// @ts-check
// The text of an API key: tm_<id>_<secret>_<check>. Its check finds typing errors without a request.

const KEY = /^(tm_[0-9A-Za-z]{12}_[0-9A-Za-z]{43})_([0-9a-f]{8})$/;

/** CRC-32, as in ZIP archives. @param {string} text of ASCII characters */
function checkOf(text) {
  let crc = -1;
  for (let at = 0; at < text.length; at += 1) {
    crc ^= text.charCodeAt(at);
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ((crc ^ -1) >>> 0).toString(16).padStart(8, "0");
}

/**
 * What keeps a text from being a key.
 * @param {string} text
 * @returns {"form" | "typo" | null}
 */
export function mistakeIn(text) {
  const [, body, check] = KEY.exec(text) ?? [];
  if (body !== undefined && check === checkOf(body)) return null;
  return text.startsWith("tm_") ? "typo" : "form";
}
