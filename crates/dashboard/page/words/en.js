// @ts-check

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
  streamsTitle: "The server has no room for another live view.",
  unreadTitle: "The tokens can't be read.",
  lostSince: "The figures are as they were at {time}, {ago}.",
  lostRetry: "Trying again by itself.",
  streamsRetry: "They are read again about every 20 seconds.",
  announceLost: "The figures are old.",
  upgraded: "The server was upgraded; this page is still the one from before.",
  upgradedLoad: "Load the new page",
  announceBack: "Connected again. The figures are current.",

  // headline
  overview: "The pool",
  inUse: "in use",
  ofSize: "of {size}",
  available: "available",
  waiting: "waiting",
  policyLease: "A lease lasts {lease}.",
  policyRenew: "A lease lasts {lease} and may be renewed to last {max}.",
  policyEvict: "When every token is in use, the oldest lease gives way to whoever asks.",
  policyEvictHold:
    "When every token is in use, the oldest lease gives way to whoever asks, "
    + "once it has run for {hold}.",
  policyReject: "When every token is in use, whoever asks is turned away.",
  policyWait: "When every token is in use, whoever asks waits, first come, first served.",
  policyUser: {
    one: "Each user may hold {count} token at a time.",
    other: "Each user may hold {count} tokens at a time.",
  },

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
  cellHeldStale: "Token {number}, held by {user} when last heard of",
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
  overviewHelp:
    "Map of {count} tokens. Arrow keys move the cursor, Page Up and Page Down by ten rows, "
    + "Enter shows a token.",
  overviewIdle: "Point at a token, or move the cursor with the arrow keys.",

  // first visit
  emptyTitle: "Nobody holds a token yet",
  emptyText: "Enter a name under Allocate and take the first one, or ask from a terminal:",
  noTokensTitle: "This pool has no tokens",
  noTokensText:
    "It was made with --pool-size 0. Start the server on a new database with a larger number.",

  // search
  search: "Search",
  searchHint: "User, number or id",
  searchFound: { one: "{count} token now", other: "{count} tokens now" },
  searchFirst: "the first {count} are listed",
  searchNone: "Nobody by that name holds a token now, and no id begins so.",
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
    "Your place was lost while the server was away. You are number {position} in the queue now. "
    + "Giving up in {left}.",
  allocateWaitLost:
    "Reconnecting. Your place in the queue is kept while the server is away, and for 15 seconds if only "
    + "your connection is.",
  giveUp: "Give up",
  allocateGivenUp: "No longer waiting. No token was taken.",
  allocated: "{user} holds {token}.",
  allocatedOver: "{user} was given {token}, but that lease is over already.",
  allocatedEvicted: "The lease of {user} gave way for it.",

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
  clearNone: "{count} tokens: nobody has one now, so there is nothing to clear.",
  clearOld: "That is as of {time}: the page is not live, and it may be more or fewer by now.",
  clearText: "Nobody is asked. Programs find out when they use, renew or release their lease.",
  clearConfirm: "Clear all leases",
  clearBusy: "Clearing …",
  cancel: "Cancel",
  cleared: { one: "{count} lease was cleared.", other: "{count} leases were cleared." },

  // drawer
  drawerId: "Token id",
  drawerValue: "Token value",
  drawerLease: "Lease id",
  drawerHolder: "Holder",
  drawerFree: "Available",
  drawerFreeText: "Nobody holds this token.",
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
  releaseOver: "This lease is over already.",
  renew: "Renew",
  renewBusy: "Renewing …",
  renewed: "Renewed until {time}.",
  history: "History",
  historyNone: "Nobody has had this token yet.",
  historyMore: "Show earlier leases",
  historyLoading: "Loading …",
  historyEnd: "That is all there is.",
  historyFailed: "The history could not be read. {why}",
  reasonRunning: "Running",
  reasonReleased: "Released",
  reasonExpired: "Expired",
  reasonEvicted: "Evicted",
  reasonEvictedFor: "Evicted for {user}",
  reasonCleared: "Ended with all others",
  reasonImported: "Imported",
  heldFor: "held {length}",
  heldSoFar: "for {length} so far",

  // feed
  events: "Events",
  pause: "Pause",
  resume: "Resume",
  pausedCount: { one: "{count} event meanwhile", other: "{count} events meanwhile" },
  eventsNone: "Nothing has happened yet. What happens to leases appears here.",
  eventsNoneLately: "Nothing in the last 10 minutes. What happens to leases appears here.",
  eventStarted: "{token} allocated",
  eventRenewed: "{token} renewed",
  eventReleased: "{token} released",
  eventExpired: "{token} expired",
  eventEvicted: "{token} evicted",
  eventCleared: "{token} cleared with all others",
  eventFor: "for {user}",
  eventHeldBy: "held by {user}",
  eventWasHeldBy: "was held by {user}",

  // what went wrong, and what to do
  problem: "{detail}",
  unreachable: "The server can't be reached.",
  "problem-not-sent":
    "The server can't be reached. Nothing was sent, so nothing was changed. Check that it runs; "
    + "this page reconnects by itself.",
  "problem-unreachable":
    "The connection failed before a reply came, so it is not certain whether this was done. "
    + "Check the tokens once the page is live again.",
  "problem-give-up-lost":
    "The server can't be reached, so your place in the queue could not be given up. It lapses "
    + "after 15 seconds; until then a token may still be allocated to you.",
  "problem-ticket-given-up": "This place in the queue was given up elsewhere.",
  "problem-too-many-tabs":
    "You are already waiting in other tabs. Wait for one of them, or give it up.",
  "problem-pool-full": "All tokens are in use. Try again later, or release one.",
  "problem-queue-full": "Too many wait for a token already. Try again later.",
  "problem-no-tokens": "This pool has no tokens at all.",
  "problem-user-limit": "This user holds as many tokens as allowed. Release one of them first.",
  "problem-invalid-user": "Enter a name of 1 to 255 characters.",
  "problem-refused": "The database can't store this name. Choose another.",
  "problem-lease-over": "That lease was over already, so nothing was done.",
  "problem-holder-mismatch": "Someone else holds the token by now, so nothing was done.",
  "problem-renewal-limit": "This lease may not last any longer. Allocate anew when it is over.",
  "problem-unknown-token": "This pool has no such token.",
  "problem-unknown-lease": "There is no such lease any more.",
  "problem-not-done": "The database is away. Nothing was done; try again in a moment.",
  "problem-busy": "The server is busy. Nothing was done; try again in a moment.",
  "problem-stopping": "The server is shutting down. Try again when it is back.",
  "problem-outcome-unknown":
    "It is not known whether that was done. Look at the tokens before you try again.",
  "problem-timed-out":
    "It took too long, and may or may not have been done. Look at the tokens before you try again.",
  "problem-idempotency-full": "The server can't remember more requests now. Try again later.",
  "problem-cross-origin": "The server refused it as coming from another site. Reload this page.",
  "problem-host-not-allowed": "The server does not answer to this address. Open it as localhost.",
};
