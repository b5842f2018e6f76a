// @ts-check
// The name under which tokens were last allocated here: all that the page knows of its user.

const KEPT = "token-manager.user";

let me = "";
const changes = new EventTarget();
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
  take(user);
  try {
    localStorage.setItem(KEPT, user);
  } catch {
    // As above.
  }
}

/** @param {string} user */
function take(user) {
  if (user === me) return;
  me = user;
  changes.dispatchEvent(new Event("change"));
}

/** Calls a function when another name is remembered, also in another tab. @param {() => void} then */
export function onMe(then) {
  changes.addEventListener("change", then);
}

addEventListener("storage", ({ key, newValue }) => {
  if (key === KEPT) take(newValue ?? "");
});
