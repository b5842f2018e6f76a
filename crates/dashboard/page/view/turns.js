// @ts-check
import { Problem } from "../live/api.js";

/** Most connections that wait. A browser opens six to a host, for all its tabs; other requests
 * need the rest. */
const WAITING = 3;

/**
 * Sends a long request, unless other tabs already have the most that may wait.
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
export async function inTurn(ask) {
  // Plain HTTP from another machine has no locks API: tabs then don't know of each other.
  if (!navigator.locks) return ask();
  for (let place = 1; place <= WAITING; place += 1) {
    const name = `token-manager waits ${place}`;
    const done = await navigator.locks.request(name, { ifAvailable: true },
      async (lock) => lock && { answer: await ask() });
    if (done) return done.answer;
  }
  throw new Problem(0, { code: "too-many-tabs" });
}
