use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use pool::HumanDuration;
use tracing::{info, warn};

use crate::shared::Shared;

/// How often the readers of the database are probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);

impl Shared {
    /// Whether the history can be read, by the last probe.
    pub fn is_readable(&self) -> bool {
        self.readable.load(SeqCst)
    }

    /// Reads a little of the database once a second, forever, so that [`Shared::is_readable`] is
    /// true only while that works.
    pub async fn probe(&self) {
        loop {
            tokio::time::sleep(PROBE_EVERY).await;
            let Some(reader) = self.reader.get() else { continue };
            let readable = match tokio::time::timeout(self.timeout, reader.probe()).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    if self.is_readable() {
                        let error = &error as &dyn std::error::Error;
                        warn!(error, "the history can't be read");
                    }
                    false
                }
                Err(_) => {
                    if self.is_readable() {
                        warn!(timeout = %HumanDuration(self.timeout), "the history can't be read: no answer");
                    }
                    false
                }
            };
            if readable && !self.is_readable() {
                info!("the history can be read again");
            }
            self.readable.store(readable, SeqCst);
        }
    }
}
