// @ts-check
import { access } from "./access/en.js";
import { acts } from "./acts/en.js";
import { policy } from "./policy/en.js";

// Every text of the page. {name} is replaced by a value; an entry with "one" and "other" is chosen
// by the plural of {count}.

/** @typedef {string | { one: string, other: string }} Words */

export const en = {
  // the page
  skip: "Skip to the tokens",
  themeToDark: "Switch to the dark theme",
  themeToLight: "Switch to the light theme",
  otherLanguage: "Português",
  otherLanguageShort: "PT",
  copy: "Copy",
  copied: "Copied",
  copyFailed: "Select it and copy it by hand",
  close: "Close",
  ago: "{length} ago",

  // connection
  connecting: "Connecting",
  live: "Live",
  lost: "Not connected",
  notLive: "Not live",
  lostTitle: "No connection to the server.",
  streamsTitle: "Too many live views are open.",
  unreadTitle: "The tokens can't be read.",
  lostSince: "Showing data from {time} ({ago}).",
  lostRetry: "Reconnecting …",
  streamsRetry: "Data is refreshed about every 20 seconds.",
  announceLost: "The data is no longer current.",
  upgraded: "A new version is available.",
  upgradedLoad: "Reload",
  announceBack: "Connected again. The data is current.",

  // frame
  allPools: "All pools",
  unknownPool: "Unknown pool",
  unknownPoolTitle: "No pool is called {pool}.",
  unknownPoolText: "It may have been deleted, or not created yet. This page shows it as soon as it exists.",
  offTainted: "Out of use",
  offBecause: "Out of use: {reason}",
  offRetiring: "Leaving the pool",
  offLater: "Leaves the pool when this lease ends",
  legendOff: "out of use",
  outOfUse: "out of use",
  drawerOff: "Out of use",
  drawerLabels: "Labels",
  drawerTaints: "Taints",
  "taint-note": "Note",
  "taint-no-new-leases": "No new leases",
  "taint-end-lease": "Drained",
  taintSet: "since {time}",
  taintBy: "by {user}, since {time}",
  allocateToken: "Token",
  allocateAny: "any",
  allocateNote: "Note",
  allocateNoteHint: "what it is for; all can see it",
  queueWants: "wants {token}",
  noTokensOpen: "Add tokens here, or describe them in a document and apply it:",
  noTokensFixed:
    "Its tokens are fixed. Change the pool's membership to open to add some, here or in a document:",
  footLinks: "More from this server",
  footReference: "API reference",
  footMetrics: "Metrics",

  // headline
  headline: "The pool",
  inUse: "in use",
  ofSize: "of {size}",
  available: "available",
  waiting: "waiting",

  // chart
  chartTitle: "Last 10 minutes",
  chartInUse: "Tokens in use",
  chartAllocations: "Allocations",
  chartExpiries: "Expiries",
  chartEvictions: "Evictions",
  chartFrom: "10 min ago",
  chartNow: "now",
  chartSays:
    "The last 10 minutes. In use now: {active} of {size}. Allocations: {allocations}. "
    + "Expiries: {expiries}. Evictions: {evictions}.",

  // grid
  tokens: "Tokens",
  gridHelp: "Arrow keys move from token to token, Enter shows one.",
  gridLoading: "Loading the tokens",
  token: "Token {number}",
  tokenInText: "token {number}",
  cellFree: "Token {number}, available",
  cellHeld: "Token {number}, held by {user}, {left} left",
  cellHeldStale: "Token {number}, held by {user} at last update",
  nextToExpire: "next to expire",
  nextToEvict: "next to be evicted",
  markExpire: "expires next",
  markEvict: "evicted next",
  markBoth: "next",
  legendHeld: "in use, with the time left",
  legendFree: "available",
  calloutExpire: "Next to expire:",
  calloutEvict: "Next to be evicted:",
  calloutHolder: "{user} on {token}",
  left: "{left} left",
  mapHelp:
    "Map of {count} tokens. Arrow keys move the cursor, Page Up and Page Down by ten rows, "
    + "Enter shows a token.",
  mapIdle: "Point at a token, or move the cursor with the arrow keys.",

  // first visit
  emptyTitle: "No token is in use yet",
  emptyText: "Enter a name under Allocate to take the first one, or use a terminal:",
  noTokensTitle: "This pool has no tokens",

  // search
  search: "Search",
  searchHint: "User, number or id",
  searchFound: { one: "{count} token now", other: "{count} tokens now" },
  searchFirst: "the first {count} are listed",
  searchNone: "No match: no user with this name holds a token, and no id starts with it.",
  searchPast: "Earlier leases of {user}",
  searchPastFailed: "Earlier leases could not be read. {why}",
  searchHeld: "{left} left",

  // allocating
  allocate: "Allocate",
  allocateTitle: "Allocate a token",
  allocateUser: "User",
  allocateUserHint: "a name, or any text",
  allocateFor: "Lease for",
  allocateMost: "Wait up to",
  lengthWrong: "Enter a length with its unit, such as 90s, 10m or 8h, and at most {max}.",
  allocateBusy: "Asking …",
  allocateWaiting: "Waiting …",
  allocateWaitSays: "You are number {position} in the queue. Giving up in {left}.",
  allocateWaitAgain:
    "You lost your place while the server was down. You are now number {position} in the queue. "
    + "Giving up in {left}.",
  allocateWaitLost:
    "Reconnecting. Your place in the queue is kept while the server is down, and for 15 seconds if only "
    + "your connection is lost.",
  giveUp: "Give up",
  allocateGivenUp: "You left the queue. No token was allocated.",
  allocated: "{user} holds {token}.",
  allocatedOver: "{user} got {token}, but that lease has already ended.",
  allocatedEvicted: "The lease of {user} was ended for it.",

  // queue
  queue: "Queue",
  queueYou: "you",
  queueWaited: "for {length}",
  queueMore: { one: "and {count} more", other: "and {count} more" },

  // clearing
  clear: "Clear all …",
  clearTitle: "Clear all leases?",
  clearCount: {
    one: "{count} token is taken from its holder at once.",
    other: "{count} tokens are taken from their holders at once.",
  },
  clearNone: "None of the {count} tokens is in use.",
  clearOld: "As of {time}: the page is not live, and the number may have changed.",
  clearText: "Holders get no warning. Programs notice when they next use, renew or release their lease.",
  clearConfirm: "Clear all leases",
  clearBusy: "Clearing …",
  cancel: "Cancel",
  cleared: { one: "{count} lease was cleared.", other: "{count} leases were cleared." },

  // drawer
  drawerId: "Token id",
  drawerValue: "Token value",
  drawerLease: "Lease id",
  drawerHolderOnly: "The holder gets the value.",
  drawerHolder: "Holder",
  drawerFree: "Available",
  drawerFreeText: "This token is not in use.",
  drawerUntil: "until {time}",
  drawerSince: "since {time}",
  drawerUnknown: "This pool has no such token.",
  drawerLoading: "Loading …",
  release: "Release",
  releaseBusy: "Releasing …",
  released: "The lease of {user} on {token} was released.",
  releaseTitle: "Release token {number}?",
  releaseWhose: "It is held by {user}.",
  releaseText:
    "The holder gets no warning. Programs notice when they next use, renew or release their lease.",
  releaseOver: "This lease has already ended.",
  renew: "Renew",
  renewBusy: "Renewing …",
  renewed: "Renewed until {time}.",
  history: "History",
  historyNone: "This token has not been used yet.",
  historyMore: "Show earlier leases",
  historyLoading: "Loading …",
  historyEnd: "No earlier leases.",
  historyFailed: "The history could not be read. {why}",
  reasonRunning: "Running",
  "reason-released": "Released",
  "reason-expired": "Expired",
  "reason-evicted": "Evicted",
  reasonEvictedFor: "Evicted for {user}",
  "reason-cleared": "All leases cleared",
  "reason-imported": "Imported",
  "reason-drained": "Token drained",
  heldFor: "held {length}",
  heldSoFar: "for {length} so far",

  // feed
  events: "Events",
  pause: "Pause",
  resume: "Resume",
  pausedCount: { one: "{count} event meanwhile", other: "{count} events meanwhile" },
  eventsNone: "No events yet. They appear here as they happen.",
  eventsNoneLately: "No events in the last 10 minutes. They appear here as they happen.",
  eventStarted: "{token} allocated",
  eventRenewed: "{token} renewed",
  "event-released": "{token} released",
  "event-expired": "{token} expired",
  "event-evicted": "{token} evicted",
  "event-cleared": "{token} released (all leases cleared)",
  "event-imported": "{token} released",
  "event-drained": "{token} released (token drained)",
  eventFor: "for {user}",
  eventHeldBy: "held by {user}",
  eventWasHeldBy: "was held by {user}",

  // overview
  skipToPools: "Skip to the pools",
  sums: "All pools together",
  pools: "Pools",
  poolsCount: { one: "{count} pool", other: "{count} pools" },
  poolsLoading: "Loading the pools",
  poolsNone: "No pool has this in its name or description.",
  poolsFound: { one: "{count} pool found.", other: "{count} pools found." },
  poolsHelp: "Arrow keys move from pool to pool, Enter opens one.",
  columnPool: "pool",
  tainted: "out of use",
  usedOf: "{active} of {size}",
  columnDeadline: "next deadline",
  columnFull: "when full",
  fullEvict: "ends the oldest lease",
  fullReject: "refuses requests",
  fullWait: "queues requests",
  newPool: "New pool …",
  searchAll: "Search all pools",
  searchAllHint: "Pool, token, user or id",
  foundCount: { one: "{count} token matches.", other: "{count} tokens match." },
  foundPart: "Searched the tokens of {searched} of {count} pools.",
  searchElsewhere: "In other pools",
  searchPool: "Pool",
  searchNoneHere: "No match in this pool.",

  // own leases
  mine: { one: "My lease", other: "My {count} leases" },
  mineAll: { one: "Show all {count}", other: "Show all {count}" },
  mineFewer: "Show fewer",

  // what went wrong, and what to do
  problem: "{detail}",
  unreachable: "The server can't be reached.",
  "problem-not-sent":
    "The server can't be reached. Nothing was sent or changed. Check that it is running; "
    + "this page reconnects on its own.",
  "problem-unreachable":
    "The connection dropped before the reply, so it is unknown whether this was done. "
    + "Check the tokens once the page is live again.",
  "problem-give-up-lost":
    "The server can't be reached, so you could not leave the queue. Your place lapses "
    + "after 15 seconds; until then a token may still be allocated to you.",
  "problem-ticket-given-up": "This place in the queue was given up elsewhere.",
  "problem-too-many-tabs":
    "You are already waiting in other tabs. Wait for one of them, or give it up.",
  "problem-pool-full": "All tokens are in use. Try again later, or release one.",
  "problem-queue-full": "The queue is full. Try again later.",
  "problem-no-tokens": "This pool has no tokens at all.",
  "problem-user-limit": "This user has reached the limit of tokens. Release one first.",
  "problem-invalid-user": "Enter a name of 1 to 255 characters.",
  "problem-unstorable-user": "The database can't store this name. Choose another.",
  "problem-lease-over": "That lease had already ended. Nothing was changed.",
  "problem-holder-mismatch": "Another user holds the token now. Nothing was changed.",
  "problem-renewal-limit": "This lease can't be renewed further. Allocate again when it ends.",
  "problem-unknown-token": "This pool has no such token.",
  "problem-unknown-lease": "This lease no longer exists.",
  "problem-not-done": "The database is unavailable. Nothing was changed. Try again in a moment.",
  "problem-busy": "The server is busy. Nothing was changed. Try again in a moment.",
  "problem-stopping": "The server is shutting down. Try again when it is back.",
  "problem-outcome-unknown":
    "It is unknown whether this was done. Check the tokens before you try again.",
  "problem-timed-out":
    "This took too long, and it is unknown whether it was done. Check the tokens before you try again.",
  "problem-idempotency-full": "The limit of idempotency keys is reached. Try again later.",
  "problem-cross-origin": "The server refused this as a cross-origin request. Reload this page.",
  "problem-host-not-allowed": "The server does not accept this host name. Open it as localhost.",

  // table, chart, changes of pools
  ...acts,
  ...policy,

  // API keys, signing in
  ...access,
};
