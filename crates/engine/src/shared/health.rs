use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Error;
use crate::shared::Shared;

/// Whether requests can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Requests can be served.
    Ready,
    /// The database has not been reached yet since the start.
    Starting,
    /// The database can be read, but not written to at the moment.
    Blocked,
    /// The database is away for the moment.
    Away,
    /// The engine has stopped or is stopping.
    Stopped,
}

impl Health {
    /// Whether the database was usable before and can't be written to now.
    pub(crate) fn is_trouble(self) -> bool {
        matches!(self, Health::Blocked | Health::Away)
    }
}

impl Shared {
    pub fn health(&self) -> Health {
        self.health.borrow().0
    }

    pub async fn health_after(&self, health: Health) -> Health {
        let mut changes = self.health.subscribe();
        let other = changes.wait_for(|(now, _)| *now != health).await;
        other.expect("the sender is in here, too").0
    }

    pub fn set_health(&self, health: Health) {
        self.health.send_if_modified(|(now, since)| {
            if *now == health {
                return false;
            }
            if health == Health::Ready && now.is_trouble() {
                self.metrics.reconnects.inc();
            }
            if health == Health::Ready {
                *lock(&self.unread_since) = None;
            }
            // The trouble began with the first failed write.
            if !(now.is_trouble() && health.is_trouble()) {
                *since = Instant::now();
            }
            *now = health;
            true
        });
    }

    /// Records that the database could not be written to; the next request for news shows whether
    /// it can be read.
    pub fn writing_failed(&self) {
        if !self.is_shared() {
            self.set_health(Health::Blocked);
            return;
        }
        if self.health() != Health::Blocked {
            self.set_health(Health::Away);
        }
        self.request_news();
    }

    /// Requests news from the database to learn whether it can be read; no read waits for the
    /// answer.
    fn request_news(&self) {
        // If the channel is full, reads are requesting news already.
        drop(self.news.try_send(oneshot::channel().0));
    }

    /// Records whether the database could be read.
    pub(super) fn reading_ended(&self, well: bool) {
        let mut unread_since = lock(&self.unread_since);
        *unread_since = if well { None } else { unread_since.or(Some(Instant::now())) };
        drop(unread_since);
        match (self.health(), well) {
            (Health::Away, true) => self.set_health(Health::Blocked),
            (Health::Blocked, false) => self.set_health(Health::Away),
            _ => {}
        }
    }

    /// Error for a command, if waiting for the database has failed for long.
    pub fn hopeless(&self) -> Option<Error> {
        let (health, since) = *self.health.borrow();
        match health {
            Health::Ready => None,
            Health::Stopped => Some(Error::Stopping),
            Health::Starting | Health::Blocked | Health::Away => self.after_timeout(since),
        }
    }

    /// Error for a read, if reading the database has failed for long. Failed writes don't count.
    pub(super) fn hopeless_to_read(&self) -> Option<Error> {
        let (health, since) = *self.health.borrow();
        match health {
            Health::Stopped => Some(Error::Stopping),
            Health::Starting => self.after_timeout(since),
            Health::Ready | Health::Blocked | Health::Away => {
                let unread_since = *lock(&self.unread_since);
                let error = unread_since.and_then(|since| self.after_timeout(since));
                if error.is_some() {
                    // Refused reads send no query, so this finds out when reading works again.
                    self.request_news();
                }
                error
            }
        }
    }

    fn after_timeout(&self, since: Instant) -> Option<Error> {
        (since.elapsed() > self.timeout).then_some(Error::not_done())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
