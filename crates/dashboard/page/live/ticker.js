// @ts-check
// The worker of timer.js: reports when a time has passed.

self.onmessage = ({ data: { id, ms } }) => setTimeout(() => self.postMessage(id), ms);
