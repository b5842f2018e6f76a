// @ts-check
// Takes the pictures of the READMEs, in docs/images: a day in a pool of 60 devices, played in ten
// minutes, so that the chart is full.
//
//   npm run screenshots [-- MINUTES]

import { mkdirSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startBrowser } from "./harness/chromium.js";
import { Dashboard } from "./harness/dashboard.js";
import { Server, root } from "./harness/server.js";

const minutes = Number(process.argv[2] ?? 10);
const folder = path.join(root, "docs/images");
const pictures = /** @type {const} */ ([
  { file: "dashboard-light.png", locale: "en-US" },
  { file: "dashboard-light.pt-BR.png", locale: "pt-BR" },
]);

const people =
  "Ana Souza,Edivan,Maria Oliveira,João Pereira,Lucas,Beatriz Lima,Rafael,Camila Rocha,Thiago," +
  "Júlia Martins,ann,Bob Fischer,Chen Wei,Priya Nair,Omar Haddad,Ingrid Sørensen,Zoë Clarke," +
  "Mateus,Larissa,Pedro Alves,Noah,Emma Weber,Sofia Rossi,Kenji Sato,Amina Diallo,Tom Baker," +
  "Elif Kaya,Iris,Davi,Helena Costa";
const machines =
  "ci/linux-x64,ci/linux-arm64,ci/macos,nightly-e2e,load-test,staging-deploy,qa-lisbon,qa-recife," +
  "import-worker,report-builder,device-lab-3,smoke-tests";
const names = [people, people, machines].flatMap((list) => list.split(","));

const notes = ["PR 1234", "release 4.2", "flaky login", "PR 1198", "demo at 15:00", "bisect"];
const models = [
  { model: "pixel-9", count: 16, labels: { os: "android", size: "phone" } },
  { model: "galaxy-s26", count: 14, labels: { os: "android", size: "phone" } },
  { model: "iphone-17", count: 18, labels: { os: "ios", size: "phone" } },
  { model: "ipad-air", count: 12, labels: { os: "ios", size: "tablet" } },
];
const devices = models.flatMap(({ model, count, labels }) =>
  Array.from({ length: count }, (_, i) => ({ name: `${model}-${i + 1}`, labels })));

/** Creates the pools. @param {Server} server */
async function prepare(server) {
  await server.ask("PUT", "/api/pools", {
    pools: {
      devices: { description: "Devices of the test lab", lease: "3m", max_lease: "30m",
        when_full: "wait", tokens: devices },
      staging: { description: "Staging environments", when_full: "wait", tokens_generated: 6 },
      licences: { description: "Seats of the CAD program", tokens_generated: 10 },
    },
  });
  for (const [device, reason] of [["ipad-air-3", "cracked screen"], ["pixel-9-7", "battery"]]) {
    const taint = { name: "cordon", effect: "no-new-leases", reason, by: "Iris" };
    await server.ask("POST", `/api/pools/devices/tokens/${device}/taints`, taint);
  }
}

/** The same numbers each time (mulberry32). */
function dice(seed = 20_261) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Two waves of people who take tokens for a while and release them or not. @param {Server} server */
async function play(server) {
  const random = dice();
  const started = performance.now();
  const end = minutes * 60_000;
  /** @type {{ lease: string, at: number }[]} */
  const leaving = [];
  for (let past = 0; past < end; past = performance.now() - started) {
    const wave = 0.5 - 0.5 * Math.cos((past / end) * 4 * Math.PI + 2);
    const name = names[Math.floor(random() * names.length)];
    const length = 30 + Math.floor(random() * 150);
    const body = { user: name, lease_seconds: length, wait_seconds: 0,
      ...(random() < 0.3 ? { note: notes[Math.floor(random() * notes.length)] } : {}) };
    const answer = await server.request("POST", "/api/pools/devices/allocate", { body });
    const { lease_id: lease } = JSON.parse(answer.body.toString());
    if (lease === undefined) continue;
    if (random() < 0.6) leaving.push({ lease, at: past + random() * length * 1000 });
    leaving.sort((a, b) => a.at - b.at);
    while (leaving.length > 0 && leaving[0].at < past) {
      const { lease: left } = /** @type {{ lease: string }} */ (leaving.shift());
      // It may have been evicted before.
      await server.request("POST", `/api/leases/${left}/release`);
    }
    await pause(Math.min((-Math.log(1 - random()) * 1000) / (0.35 + 1.5 * wave), end - past));
  }
}

mkdirSync(folder, { recursive: true });
const server = new Server([]);
const { browser } = await startBrowser();
try {
  await server.run();
  await prepare(server);
  const tabs = await Promise.all(
    pictures.map(async ({ locale }) => {
      const viewport = { width: 1440, height: 900 };
      const context = await browser.newContext({ locale, colorScheme: "light", viewport });
      const dashboard = new Dashboard(await context.newPage(), server);
      await dashboard.page.goto(`${server.url}/pools/devices`);
      await dashboard.state("live");
      return dashboard;
    }),
  );
  await play(server);
  for (const [place, { file }] of pictures.entries()) {
    const target = path.join(folder, file);
    await tabs[place].page.screenshot({ path: target, animations: "disabled" });
    console.log(`${target}: ${Math.round(statSync(target).size / 1000)} kB`);
  }
} finally {
  await browser.close();
  await server.remove();
}
