use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use pool::{ApiKeyId, Timestamp};

use crate::problem::Code;

/// Number of refusals that are kept.
pub(crate) const KEPT: usize = 1_000;

/// A request that was refused for its caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) at: Timestamp,
    pub(crate) address: IpAddr,
    pub(crate) key: Option<ApiKeyId>,
    pub(crate) method: &'static str,
    /// Template of the path.
    pub(crate) route: Option<&'static str>,
    pub(crate) code: Code,
}

/// The last refusals of this server, in memory.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<VecDeque<Refusal>>);

impl Refusals {
    pub(crate) fn push(&self, refusal: Refusal) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(refusal);
    }

    /// The refusals, newest first.
    pub(crate) fn latest(&self, limit: usize) -> Vec<Refusal> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().take(limit).copied().collect()
    }
}
