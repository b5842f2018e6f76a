use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Word from server to server that something was written. One that gets lost costs promptness and
/// nothing else.
pub struct Hints {
    told: Arc<Notify>,
    heard: Arc<Notify>,
    /// What carries them; ends when this is dropped.
    _carriers: JoinSet<()>,
}

impl Hints {
    /// Where there are no other servers.
    #[must_use]
    pub fn none() -> Self {
        Self::carried(|_, _| JoinSet::new())
    }

    /// Hints that tasks carry: they take on what is told by the first, and pass what they hear to
    /// the second.
    pub(crate) fn carried(carry: impl FnOnce(Arc<Notify>, Arc<Notify>) -> JoinSet<()>) -> Self {
        let (told, heard) = <(Arc<Notify>, Arc<Notify>)>::default();
        let carriers = carry(Arc::clone(&told), Arc::clone(&heard));
        Hints { told, heard, _carriers: carriers }
    }

    /// Lets the other servers know, soon, that something was written. Costs nothing to call often.
    pub fn tell(&self) {
        self.told.notify_one();
    }

    /// Returns when another server has written something since this last returned.
    pub async fn heard(&self) {
        self.heard.notified().await;
    }
}
