//! Turns of callers, so that one with many connections leaves others their share of the server.
//!
//! While several callers are active, none has more requests in progress than another asks for, or a few; its
//! further requests wait where they cost nothing. So batches of the engine stay as short as for equal callers,
//! however many connections one of them has. A caller alone is not limited.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool::{ApiKeyId, UserId};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Requests that every caller may have in progress.
pub(crate) const MIN_IN_PROGRESS: usize = 8;

/// Interval at which the active callers and their limit are determined.
pub(crate) const WINDOW: Duration = Duration::from_millis(100);

/// Callers that share a server.
#[derive(Clone, Copy, Hash)]
pub(crate) enum Sharer {
    Key(ApiKeyId),
    /// A user of a proxy.
    User(ApiKeyId, UserId),
    /// A caller without an API key.
    Address(IpAddr),
}

/// The requests in progress of each caller. Clones share everything.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Inner>);

struct Inner {
    hasher: RandomState,
    /// Hash of the only active caller; 0 if several are, or none has been. Its requests are not counted.
    alone: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// By their hashes.
    callers: HashMap<u64, Caller>,
    limit: usize,
    /// When this window ends.
    until: Instant,
    /// Grows when a caller is alone, from when on the turns before do not count.
    era: u64,
}

#[derive(Default)]
struct Caller {
    in_progress: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    /// Most requests in progress and waiting in this window.
    peak: usize,
}

/// A request in progress, until this is dropped or ended.
pub(crate) struct Turn {
    turns: Turns,
    caller: u64,
    era: u64,
    has_ended: AtomicBool,
}

impl Turn {
    /// Ends the turn: from now on, the request only waits for a token.
    pub(crate) fn end(&self) {
        if !self.has_ended.swap(true, Relaxed) {
            self.turns.ended(self.caller, self.era);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

impl Turns {
    pub(crate) fn new() -> Self {
        let callers = HashMap::new();
        let until = Instant::now() + WINDOW;
        let state = State { callers, limit: MIN_IN_PROGRESS, until, era: 1 };
        let (hasher, alone, state) = (RandomState::new(), AtomicU64::new(0), Mutex::new(state));
        Turns(Arc::new(Inner { hasher, alone, state }))
    }

    /// Waits until the caller may have another request in progress. None while no other caller is active.
    pub(crate) async fn take(&self, sharer: Sharer) -> Option<Turn> {
        let caller = self.0.hasher.hash_one(sharer).max(1);
        if self.0.alone.load(Relaxed) == caller {
            return None;
        }
        let (waiting, era) = {
            let mut state = self.lock();
            if self.is_alone(&mut state, caller) {
                let waiting = state.callers.remove(&caller).unwrap_or_default().waiting;
                (state.callers, state.era) = (HashMap::new(), state.era + 1);
                drop(state);
                self.pass(caller, 0, waiting);
                return None;
            }
            let (limit, era) = (state.limit, state.era);
            let of_caller = state.callers.entry(caller).or_default();
            of_caller.peak =
                of_caller.peak.max(of_caller.in_progress + of_caller.waiting.len() + 1);
            if of_caller.in_progress < limit {
                of_caller.in_progress += 1;
                (None, era)
            } else {
                let (sender, receiver) = oneshot::channel();
                of_caller.waiting.push_back(sender);
                (Some(receiver), era)
            }
        };
        match waiting {
            None => Some(self.turn(caller, era)),
            Some(receiver) => receiver.await.ok(),
        }
    }

    /// Whether this is the only active caller. Begins a new window if it is time.
    fn is_alone(&self, state: &mut State, caller: u64) -> bool {
        let now = Instant::now();
        let before = self.0.alone.swap(0, Relaxed);
        if before == 0 && now >= state.until {
            state.look();
            state.until = now + WINDOW;
        }
        if before != 0 {
            state.limit = MIN_IN_PROGRESS;
            state.until = now + WINDOW;
            return false;
        }
        let is_alone = state.callers.keys().all(|of| *of == caller);
        if is_alone {
            self.0.alone.store(caller, Relaxed);
        }
        is_alone
    }

    fn turn(&self, caller: u64, era: u64) -> Turn {
        Turn { turns: self.clone(), caller, era, has_ended: AtomicBool::new(false) }
    }

    /// Lets these requests go on.
    fn pass(
        &self,
        caller: u64,
        era: u64,
        waiting: impl IntoIterator<Item = oneshot::Sender<Turn>>,
    ) {
        for waiting in waiting {
            // The turn of a request that has left meanwhile ends here.
            drop(waiting.send(self.turn(caller, era)));
        }
    }

    /// A request of the caller is no longer in progress: the next ones are.
    fn ended(&self, caller: u64, era: u64) {
        let mut next = Vec::new();
        {
            let mut state = self.lock();
            let limit = state.limit;
            if state.era != era {
                return;
            }
            let Some(of_caller) = state.callers.get_mut(&caller) else { return };
            of_caller.in_progress = of_caller.in_progress.saturating_sub(1);
            while of_caller.in_progress < limit
                && let Some(waiting) = of_caller.waiting.pop_front()
            {
                if !waiting.is_closed() {
                    of_caller.in_progress += 1;
                    next.push(waiting);
                }
            }
        }
        self.pass(caller, era, next);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets callers that were not active in this window. The limit is what the second busiest one asked for.
    fn look(&mut self) {
        let (mut first, mut second) = (0, 0);
        self.callers.retain(|_, caller| {
            let peak =
                std::mem::replace(&mut caller.peak, caller.in_progress + caller.waiting.len());
            (first, second) = (first.max(peak), second.max(first.min(peak)));
            peak > 0
        });
        self.limit = second.max(MIN_IN_PROGRESS);
    }
}

#[cfg(test)]
impl Caller {
    fn is_busy(&self) -> bool {
        self.in_progress + self.waiting.len() > 0
    }
}

#[cfg(test)]
mod tests;
