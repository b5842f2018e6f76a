use std::sync::Arc;

use pool::Timestamp;
use store::{Entry, News, Position};
use tracing::{error, warn};

use crate::events::{BatchEvents, EventBatch};
use crate::metrics::Mismatch;
use crate::replica::Replica;
use crate::shared::Shared;

impl Shared {
    /// Brings the readers' replica forward by the news since `known`, and by `own`, which this
    /// server just made durable. Of two concurrent calls, the second finds the work done.
    pub fn publish(&self, known: &Position, news: News, own: Option<&Entry>) {
        let mut copy = self.write();
        let newest = self.take_news(&mut copy, known, news);
        if let Some(entry) = own {
            self.advance(&mut copy, &newest, entry);
        }
        copy.iter().for_each(|copy| self.high_water.note(copy));
        drop(copy);
        self.in_flight.published();
    }

    /// As [`Shared::publish`], for news after which the copy lacks no batch decided before
    /// `settled`.
    pub(super) fn publish_settled(&self, known: &Position, news: News, settled: Timestamp) {
        let mut copy = self.write();
        self.take_news(&mut copy, known, news);
        if let Some(copy) = copy.as_mut() {
            copy.settled = copy.settled.max(settled);
            self.high_water.note(copy);
        }
        drop(copy);
        self.in_flight.published();
    }

    /// Returns the position to which the news lead.
    fn take_news(&self, copy: &mut Option<Replica>, known: &Position, news: News) -> Position {
        match news {
            News::Whole(snapshot) => {
                let age = |position: &Position| (position.epoch, position.version);
                let current = copy.as_ref().map(|copy| copy.position);
                let newest = snapshot.position;
                if current.is_none_or(|now| now == *known || age(&now) < age(&snapshot.position)) {
                    let Position { epoch, version, .. } = snapshot.position;
                    let happened = BatchEvents::Unknown;
                    self.announce(EventBatch { epoch, version, at: snapshot.at, happened });
                    *copy = Some(Replica::from(*snapshot));
                    self.access_changed.send_replace(());
                    self.high_water.replaced();
                }
                newest
            }
            News::Entries(entries) => {
                let mut newest = *known;
                for entry in &entries {
                    self.advance(copy, &newest, entry);
                    newest = entry.position;
                }
                newest
            }
        }
    }

    /// Brings the copy forward by the entry that follows on `before`.
    fn advance(&self, slot: &mut Option<Replica>, before: &Position, entry: &Entry) {
        let Some(copy) = slot else { return };
        if entry.position.epoch > copy.position.epoch && copy.position != *before {
            // A failover lost entries that the copy has, so the new epoch does not follow on them.
            warn!("readers' replica has entries that were lost; reloading");
            *slot = None;
            return;
        }
        let is_new = entry.position.version > copy.position.version;
        let told = is_new && self.feed.receiver_count() > 0;
        let published = told.then(|| EventBatch::before(entry, &copy.ledger));
        let generation = copy.ledger.access().generation();
        let advanced = copy.advance(entry);
        if copy.ledger.access().generation() != generation {
            self.access_changed.send_replace(());
        }
        match advanced {
            Ok(()) => published.into_iter().for_each(|published| self.announce(published)),
            Err(unfit) => {
                error!(%unfit, "readers' replica reloaded");
                self.metrics.mismatched(Mismatch::News);
                *slot = None;
            }
        }
    }

    /// In the order of the journal, since the copy is held meanwhile.
    fn announce(&self, published: EventBatch) {
        // A feed without receivers is fine.
        let _ = self.feed.send(Arc::new(published));
    }
}
