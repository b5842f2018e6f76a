// @ts-check
import { Problem } from "../live/api.js";

/** A browser opens six connections to a host, for all its tabs: the rest is for all else. */
const WAITING = 3;

/**
 * Asks for what takes long, unless other tabs do already.
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
export async function inTurn(ask) {
  // Over plain HTTP from another machine there are no locks: then tabs know nothing of each other.
  if (!navigator.locks) return ask();
  for (let place = 1; place <= WAITING; place += 1) {
    const name = `token-manager waits ${place}`;
    const done = await navigator.locks.request(name, { ifAvailable: true },
      async (lock) => lock && { answer: await ask() });
    if (done) return done.answer;
  }
  throw new Problem(0, { code: "too-many-tabs" });
}
