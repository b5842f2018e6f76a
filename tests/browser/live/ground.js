// @ts-check
// What the tests of the data layer stand on: events as the server tells them, a stream that a test
// holds in its hand, and an EventSource for Node, which has none.

/** @typedef {import("../../../crates/dashboard/page/live/shape.js").Happening} Happening */
/** @typedef {import("../../../crates/dashboard/page/live/shape.js").Info} Info */
/** @typedef {import("../../../crates/dashboard/page/live/shape.js").Row} Row */

/** A time on a second of its own, so that tests can count from it. */
export const START = Date.parse("2026-01-31T12:00:00Z");

/** @param {number} number of a token, from 0 */
export const tokenId = (number) => `token-${number}`;

/**
 * @param {number} fence
 * @param {number} [expiresAt]
 */
export function lease(fence, expiresAt = START + 120_000) {
  const user = `user ${fence}`;
  const id = `lease-${fence}`;
  return { id, user, userId: `id of ${user}`, fence, startedAt: START, expiresAt };
}

/**
 * A list of tokens of which some are held.
 * @param {number} size
 * @param {Record<number, ReturnType<typeof lease>>} [held] by position
 * @returns {Row[]}
 */
export function rows(size, held = {}) {
  return Array.from({ length: size }, (_, position) => (
    { id: tokenId(position), name: `${position + 1}`, number: position + 1, value: `value-${position}`,
      labels: {}, taints: [], status: held[position] ? "active" : "available", retiring: false,
      lease: held[position] ?? null, note: null }
  ));
}

/**
 * @param {Happening["kind"]} kind
 * @param {number} position of the token
 * @param {number} fence
 * @param {Partial<Happening>} [more]
 * @returns {Happening}
 */
export function happening(kind, position, fence, more = {}) {
  return {
    ...lease(fence), kind, at: START, tokenId: tokenId(position), position: -1,
    tokenName: `${position + 1}`, note: null,
    reason: kind === "ended" ? "released" : null, evicted: null, evictedBy: null, ...more,
  };
}

/**
 * An event's data, as the server sends it.
 * @param {number} position
 * @param {number} fence
 * @param {Record<string, unknown>} [more]
 */
export function told(position, fence, more = {}) {
  const startedAt = new Date(START).toISOString();
  return {
    lease_id: `lease-${fence}`, token_id: tokenId(position), user: `user ${fence}`, user_id: "id",
    fence, started_at: startedAt, expires_at: new Date(START + 120_000).toISOString(), ...more,
  };
}

/**
 * An answer of GET /api/pools/{pool}.
 * @param {number} version
 * @param {Partial<Info>} [more]
 * @returns {Info}
 */
export function info(version, more = {}) {
  return {
    name: "default", description: "", size: 3, active: 0, available: 3, tainted: 0, retiring: 0, waiting: 0,
    next_deadline: null, created_at: "", oldest_lease: null, epoch: 1, version,
    policy: { when_full: "evict-oldest", lease_seconds: 120, max_lease_seconds: 120,
      min_hold_seconds: 0, max_per_user: null, membership: "fixed", show_values: "everyone" },
    ...more,
  };
}

/** An EventSource that says what a test says. */
export class FakeSource extends EventTarget {
  /** @type {FakeSource[]} all that were made, in order */
  static made = [];
  closed = false;
  /** @type {((event: Event) => void) | null} */
  onopen = null;
  /** @type {((event: Event) => void) | null} */
  onerror = null;

  /** @param {string} url */
  constructor(url) {
    super();
    this.url = url;
    FakeSource.made.push(this);
  }

  /** @param {string} url */
  static open = (url) => /** @type {EventSource} */ (/** @type {unknown} */ (new FakeSource(url)));

  static get latest() {
    return FakeSource.made[FakeSource.made.length - 1];
  }

  open() {
    this.onopen?.(new Event("open"));
  }

  /** A cut, or an HTTP error, after which a browser's own would stay closed. */
  fail() {
    this.onerror?.(new Event("error"));
  }

  /**
   * @param {string} type
   * @param {string} lastEventId
   * @param {unknown} data
   */
  say(type, lastEventId, data) {
    const text = JSON.stringify(data);
    this.dispatchEvent(new MessageEvent(type, { lastEventId, data: text }));
  }

  close() {
    this.closed = true;
  }
}

/** As much of an EventSource as the data layer uses, over fetch. It never connects again. */
export class NodeSource extends EventTarget {
  #end = new AbortController();
  /** @type {((event: Event) => void) | null} */
  onopen = null;
  /** @type {((event: Event) => void) | null} */
  onerror = null;

  /** @param {string} url */
  constructor(url) {
    super();
    this.#read(url).catch(() => {}).then(() => {
      if (!this.#end.signal.aborted) this.onerror?.(new Event("error"));
    });
  }

  /** @param {string} url */
  async #read(url) {
    const answer = await fetch(url, { signal: this.#end.signal });
    if (!answer.ok || answer.body === null) return;
    this.onopen?.(new Event("open"));
    const decoder = new TextDecoder();
    let rest = "";
    for await (const part of /** @type {AsyncIterable<Uint8Array>} */ (
      /** @type {unknown} */ (answer.body))) {
      const blocks = (rest + decoder.decode(part, { stream: true })).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) this.#take(block);
    }
  }

  /** @param {string} block */
  #take(block) {
    /** @type {Record<string, string>} */
    const fields = {};
    for (const line of block.split("\n")) {
      const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
      if (name !== undefined) fields[name] = value;
    }
    const { event = "message", id = "", data } = fields;
    if (data === undefined || this.#end.signal.aborted) return;
    this.dispatchEvent(new MessageEvent(event, { data, lastEventId: id }));
  }

  close() {
    this.#end.abort();
  }
}
