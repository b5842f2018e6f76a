//! Memory budget for answers that wait for their clients, all connections together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// Number of bytes in use, and their limit.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    most: usize,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Budget { used: AtomicUsize::new(0), most })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Whether not even small answers fit any more.
    pub(crate) fn is_spent(&self) -> bool {
        self.used() >= self.most
    }

    /// Charges a large answer. A quarter of the budget is left to small ones.
    pub(crate) fn try_charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let limit = self.most - self.most / 4;
        let grow = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(Relaxed, Relaxed, grow).ok()?;
        Some(Charge { budget: Arc::clone(self), bytes })
    }

    /// Charges what exists already.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Relaxed);
        Charge { budget: Arc::clone(self), bytes }
    }
}

/// A part of the budget, in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// These bytes, charged until the last clone is dropped.
    pub(crate) fn hold(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held { bytes, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
    }
}

struct Held {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_lasts_as_long_as_its_bytes() {
        let budget = Budget::new(400);
        assert!(budget.try_charge(301).is_none(), "a quarter is for small answers");
        let bytes = budget.try_charge(300).unwrap().hold(vec![0; 300]);
        assert!(budget.try_charge(1).is_none() && !budget.is_spent());
        let small = budget.charge(100);
        assert!(budget.is_spent());
        let part = bytes.slice(..1);
        drop((small, bytes));
        assert_eq!(budget.used(), 300);
        drop(part);
        assert_eq!(budget.used(), 0);
    }
}
