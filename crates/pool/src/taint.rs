use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::words::words;
use crate::{Note, TaintName, Timestamp, User};

words! {
    /// Effect of a taint on its token.
    pub enum Effect {
        Note = "note", "The taint is displayed, and has no other effect.";
        NoNewLeases = "no-new-leases", "The token gets no new lease. A running lease continues.";
        EndLease = "end-lease", "The token gets no new lease. A running lease ends.";
    }
}

impl Effect {
    /// Whether a token with such a taint gets no new lease.
    #[must_use]
    pub const fn blocks(self) -> bool {
        !matches!(self, Effect::Note)
    }
}

/// A mark on a token: why it is not handed out, by whom and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// Name, unique within the token.
    pub name: TaintName,
    /// Effect.
    pub effect: Effect,
    /// Reason, for people.
    #[serde(default)]
    pub reason: Note,
    /// The author, if known.
    #[serde(default)]
    pub by: Option<User>,
    /// When it was set.
    pub since: Timestamp,
    /// When it is removed. `None` if only a command removes it.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

impl Taint {
    /// Whether the taint applies at `now`. A taint past its `until` is over even if it is not removed
    /// yet.
    #[must_use]
    pub fn applies(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// Whether the taint is the same, set at another time.
    pub(crate) fn is_like(&self, other: &Taint) -> bool {
        Taint { since: other.since, ..self.clone() } == *other
    }
}

/// The taints of a token, in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taints(Arc<[Taint]>);

impl Taints {
    /// Maximum number of taints of a token.
    pub const MAX: usize = 16;

    /// The taints.
    pub fn iter(&self) -> std::slice::Iter<'_, Taint> {
        self.0.iter()
    }

    /// Number of taints.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no taints.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The taint with this name.
    #[must_use]
    pub fn get(&self, name: &TaintName) -> Option<&Taint> {
        self.iter().find(|taint| taint.name == *name)
    }

    /// Whether a taint keeps the token from new leases. Taints past their `until` count until they are
    /// removed.
    pub(crate) fn block(&self) -> bool {
        self.iter().any(|taint| taint.effect.blocks())
    }

    /// When the last taint that keeps the token from new leases is removed. `None` if one of them stays.
    pub(crate) fn blocked_until(&self) -> Option<Timestamp> {
        let blocking = self.iter().filter(|taint| taint.effect.blocks());
        blocking.map(|taint| taint.until).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Earliest `until`.
    pub(crate) fn next_until(&self) -> Option<Timestamp> {
        self.iter().filter_map(|taint| taint.until).min()
    }

    /// The taints without those that are over at `now`.
    pub(crate) fn at(&self, now: Timestamp) -> Taints {
        self.iter().filter(|taint| taint.applies(now)).cloned().collect()
    }

    /// The taints with this one, instead of the one with its name.
    pub(crate) fn with(&self, taint: Taint) -> Taints {
        self.without(&taint.name).iter().cloned().chain([taint]).collect()
    }

    /// The taints without the one with this name.
    pub(crate) fn without(&self, name: &TaintName) -> Taints {
        self.iter().filter(|taint| taint.name != *name).cloned().collect()
    }
}

impl FromIterator<Taint> for Taints {
    fn from_iter<I: IntoIterator<Item = Taint>>(taints: I) -> Self {
        Taints(taints.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Taints {
    type Item = &'a Taint;
    type IntoIter = std::slice::Iter<'a, Taint>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
