use std::sync::Arc;

use pool::Timestamp;
use store::{Entry, News, Position};
use tracing::error;

use crate::events::{BatchEvents, EventBatch};
use crate::metrics::Mismatch;
use crate::replica::Replica;
use crate::shared::Shared;

impl Shared {
    /// Brings the readers' replica forward by the news since `known`, and by `own`, which this
    /// server just made durable. Of two concurrent calls, the second finds the work done.
    pub fn publish(&self, known: &Position, news: News, own: Option<&Entry>) {
        let mut copy = self.write();
        self.take_news(&mut copy, known, news);
        if let Some(entry) = own {
            self.advance(&mut copy, entry);
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

    fn take_news(&self, copy: &mut Option<Replica>, known: &Position, news: News) {
        match news {
            News::Whole(snapshot) => {
                let age = |position: &Position| (position.epoch, position.version);
                let current = copy.as_ref().map(|copy| copy.position);
                if current.is_none_or(|now| now == *known || age(&now) < age(&snapshot.position)) {
                    let Position { epoch, version, .. } = snapshot.position;
                    let happened = BatchEvents::Unknown;
                    self.announce(EventBatch { epoch, version, at: snapshot.at, happened });
                    *copy = Some(Replica::from(*snapshot));
                    self.access_changed.send_replace(());
                    self.high_water.replaced();
                }
            }
            News::Entries(entries) => {
                for entry in &entries {
                    self.advance(copy, entry);
                }
            }
        }
    }

    fn advance(&self, slot: &mut Option<Replica>, entry: &Entry) {
        let Some(copy) = slot else { return };
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
