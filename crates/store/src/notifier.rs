use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Wake-ups between servers that share a pool. A lost one costs promptness only.
pub struct Notifier {
    written_here: Arc<Notify>,
    written_elsewhere: Arc<Notify>,
    /// Tasks that carry the wake-ups; they end with this value.
    _carriers: JoinSet<()>,
}

impl Notifier {
    /// For a database that has one server only.
    #[must_use]
    pub fn none() -> Self {
        Self::carried(|_, _| JoinSet::new())
    }

    /// Wake-ups carried by the tasks that `carry` starts. They pass on the first notification to other
    /// servers, and signal the second when another server has written.
    #[must_use]
    pub fn carried(carry: impl FnOnce(Arc<Notify>, Arc<Notify>) -> JoinSet<()>) -> Self {
        let (here, elsewhere) = <(Arc<Notify>, Arc<Notify>)>::default();
        let carriers = carry(Arc::clone(&here), Arc::clone(&elsewhere));
        Notifier { written_here: here, written_elsewhere: elsewhere, _carriers: carriers }
    }

    /// Wakes the other servers soon. Cheap to call often.
    pub fn notify(&self) {
        self.written_here.notify_one();
    }

    /// Returns once another server has written since the last return.
    pub async fn notified(&self) {
        self.written_elsewhere.notified().await;
    }
}
