//! The signal that the server stops.

use std::time::Duration;

use tokio::sync::watch;

/// Time that requests have to finish by themselves after the server is told to stop.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Signal that the server stops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Resolves one second after shutdown begins; aborts waits that cannot finish.
    pub(crate) async fn grace_period_over(&self) {
        // This holds a sender, so the channel stays open.
        let _ = self.0.subscribe().wait_for(|stopping| *stopping).await;
        tokio::time::sleep(GRACE_PERIOD).await;
    }
}
