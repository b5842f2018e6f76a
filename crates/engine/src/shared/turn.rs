//! Notices when a turn of the engine takes too long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pool::HumanDuration;
use tokio::time::Instant;
use tracing::warn;

use crate::Health;
use crate::shared::Shared;

/// How often, within the request timeout, [`Shared::watch_turns`] looks whether a turn has begun.
const LOOKS: u32 = 8;

/// The beginning of the engine's turn, while it takes one.
#[derive(Default)]
pub(crate) struct Turn(Mutex<Option<Instant>>);

impl Turn {
    /// Begins a turn, which ends when this is dropped.
    pub fn begin(&self) -> InTurn<'_> {
        *self.lock() = Some(Instant::now());
        InTurn(self)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct InTurn<'a>(&'a Turn);

impl Drop for InTurn<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

impl Shared {
    /// Reports the database as away while a turn takes longer than the request timeout. Runs
    /// elsewhere than the engine, whose thread waits for the disk in some turns.
    pub async fn watch_turns(self: Arc<Self>) {
        let mut reported = None;
        loop {
            let began = *self.turn.lock();
            match began.filter(|_| began != reported) {
                Some(began) if began.elapsed() >= self.timeout => {
                    reported = Some(began);
                    self.report_turn(began);
                }
                Some(began) => tokio::time::sleep_until(began + self.timeout).await,
                None => tokio::time::sleep(self.timeout / LOOKS).await,
            }
        }
    }

    fn report_turn(&self, began: Instant) {
        // Locked until the report is made, so that a turn that ends now corrects it.
        let turn = self.turn.lock();
        if *turn == Some(began) {
            warn!(waited = %HumanDuration(self.timeout), "database does not answer; waiting on");
            self.set_health(Health::Away);
        }
    }
}
