// @ts-check
// A large and busy pool: the page goes on drawing, and is right in the end.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { inBrowser } from "./harness/stage.js";

/** @typedef {import("./harness/server.js").Server} Server */

const drivenMs = 4000;
const eventsPerSecond = 1000;
// Machines that run tests are slow and shared, and draw without a graphics card: these are bounds
// which only a page breaks that falls behind, as one does that draws for each event.
const longestGapMs = 3000;

inBrowser("10,000 tokens at a thousand events a second", (stage) => busy(stage, 10_000, 10), 90);
inBrowser("2,000 cells at a thousand events a second", (stage) => busy(stage, 2000, 2), 90);

/**
 * @param {import("./harness/stage.js").Stage} stage
 * @param {number} size
 * @param {number} fewestFrames a second
 */
async function busy(stage, size, fewestFrames) {
  const server = await stage.server(`--pool-size=${size}`, "--lease=10m", "--access-log=false");
  /** @type {string[]} */
  const held = [];
  const take = async (/** @type {number} */ number) => {
    held.push((await server.allocate(`user-${number % 97}`)).lease_id);
  };
  for (let number = 0; number < size / 2; number += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, place) => take(number + place)));
  }

  const dashboard = await stage.dashboard(server);
  await dashboard.counts({ active: size / 2, available: size / 2, size });
  await dashboard.page.evaluate(countFrames);
  const { events, seconds } = await drive(server, held, take);
  const frames = await dashboard.page.evaluate(framesSoFar);
  const rate = Math.round(events / seconds);
  console.log(
    `${size} tokens, ${rate} events/s: ${Math.round(frames.count / frames.seconds)} frames/s, ` +
      `longest gap ${Math.round(frames.longest)} ms, ${frames.pictures} different counts shown`,
  );
  assert.ok(frames.count / frames.seconds >= fewestFrames, "the page goes on drawing");
  assert.ok(frames.longest <= longestGapMs, "the page does not stand still");
  assert.ok(frames.pictures >= 5, "what it shows goes on changing");

  const { active, available } = await server.pool();
  assert.equal(active, held.length);
  await dashboard.counts({ active, available });
  await dashboard.state("live");
  for (const { id, user } of (await server.tokens()).slice(0, 3)) {
    await dashboard.page.evaluate((hash) => (location.hash = hash), `#token=${id}`);
    await dashboard.drawer(id);
    if (user) await dashboard.reads("#drawer-holder", new RegExp(`${user}(?!\\d)`));
  }
  if (size <= 2000) {
    await dashboard.until("the last events are shown", cellsHeld, active);
  }
}

/**
 * Takes and releases, rather more often the former so that the counts move.
 * @param {Server} server
 * @param {string[]} held
 * @param {(number: number) => Promise<void>} take
 */
async function drive(server, held, take) {
  const started = performance.now();
  /** @type {Set<Promise<unknown>>} */
  const open = new Set();
  let events = 0;
  for (let past = 0; past < drivenMs; past = performance.now() - started) {
    const due = Math.floor((past / 1000) * eventsPerSecond);
    // A server that can't keep up does not get more and more requests.
    while (events < due && open.size < 64) {
      const lease = events % 5 < 2 ? held.splice((events * 7919) % held.length, 1)[0] : null;
      const asked = lease ? server.release(lease) : take(events);
      open.add(asked);
      void asked.finally(() => open.delete(asked));
      events += 1;
    }
    await pause(5);
  }
  await Promise.all(open);
  return { events, seconds: (performance.now() - started) / 1000 };
}

// What follows runs in the page.

function countFrames() {
  /** @type {number[]} */
  const times = [];
  const shown = new Set();
  /** @type {any} */ (globalThis).frames = { times, shown };
  const frame = (/** @type {number} */ now) => {
    times.push(now);
    shown.add(document.querySelector("#count-active")?.textContent);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

function framesSoFar() {
  /** @type {{ times: number[], shown: Set<string> }} */
  const { times, shown } = /** @type {any} */ (globalThis).frames;
  const gaps = times.slice(1).map((time, place) => time - times[place]);
  return {
    count: times.length,
    seconds: (times[times.length - 1] - times[0]) / 1000,
    longest: Math.max(...gaps),
    pictures: shown.size,
  };
}

/** @param {number} active */
function cellsHeld(active) {
  return document.querySelectorAll('#grid .cell[data-state="active"]').length === active;
}
