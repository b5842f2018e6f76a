// @ts-check
// The name under which tokens were last allocated here: all that the page knows of its user.

const KEPT = "token-manager.user";

let me = "";
try {
  me = localStorage.getItem(KEPT) ?? "";
} catch {
  // Without storage the page knows its user only until it is closed.
}

/** @param {string} user */
export const isMe = (user) => user !== "" && user === me;

export const myName = () => me;

/** @param {string} user */
export function rememberMe(user) {
  me = user;
  try {
    localStorage.setItem(KEPT, user);
  } catch {
    // As above.
  }
}
