use std::sync::{Arc, Mutex, PoisonError};

/// The database's settings on which the durability of commits rests, as last seen. Clones share
/// one state.
#[derive(Clone, Debug, Default)]
pub struct Durability(Arc<Mutex<Vec<(&'static str, bool)>>>);

impl Durability {
    /// Settings that were seen, and whether each weakens durability.
    pub(crate) fn of(seen: Vec<(&'static str, bool)>) -> Self {
        Durability(Arc::new(Mutex::new(seen)))
    }

    /// Name of each setting, and whether its value weakens durability. Empty before the first
    /// observation.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a new observation, and returns the previous one.
    pub(crate) fn replace(&self, seen: Vec<(&'static str, bool)>) -> Vec<(&'static str, bool)> {
        let mut settings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *settings, seen)
    }
}
