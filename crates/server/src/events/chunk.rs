use bytes::Bytes;
use engine::Event;
use pool::PoolName;

use super::filter::{Filter, Subject};
use super::format;
use super::position::Position;
use crate::http::access::Caller;

/// Events of consecutive batches, encoded once for all streams.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// End of the batch before the first.
    pub(crate) after: Position,
    /// End of the last batch. A gap extends to here.
    pub(crate) to: Position,
    pub(crate) gap: Option<Gap>,
    text: Bytes,
    events: Vec<Written>,
}

/// Reason why a chunk lacks events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// More events than the server sends.
    TooMuch,
    /// The pool was reloaded, so earlier positions may have another meaning.
    Reloaded,
}

/// An event in a chunk's text.
#[derive(Debug)]
struct Written {
    position: Position,
    subject: Subject,
    pool: PoolName,
    /// End of its text, which begins at the end of the previous event's.
    end: usize,
}

impl Chunk {
    /// Returns the text of the events after `sent` that pass the filter, in pools that exist for the caller.
    pub(crate) fn text(&self, sent: Position, filter: &Filter, caller: &Caller) -> Bytes {
        let first = self.events.partition_point(|event| event.position <= sent);
        let mut begin = first.checked_sub(1).map_or(0, |last| self.events[last].end);
        if filter.is_all() && caller.has_all_pools() {
            return self.text.slice(begin..);
        }
        let mut text = Vec::new();
        for event in &self.events[first..] {
            if filter.passes(&event.subject) && caller.has_pool(&event.pool) {
                text.extend_from_slice(&self.text[begin..event.end]);
            }
            begin = event.end;
        }
        text.into()
    }
}

/// Builder of a chunk.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuilder {
    text: Vec<u8>,
    events: Vec<Written>,
}

impl ChunkBuilder {
    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds the event at `position`; returns the size of its text.
    pub(crate) fn push(
        &mut self,
        position: Position,
        event: &Event,
        subject: Subject,
        with_names: bool,
    ) -> usize {
        let begin = self.text.len();
        format::event(&mut self.text, position, event, with_names);
        let end = self.text.len();
        self.events.push(Written { position, subject, pool: event.pool_name.clone(), end });
        end - begin
    }

    /// Removes the events of that batch, which must be the last one.
    pub(crate) fn take_back(&mut self, batch: Position) {
        let before = self.events.partition_point(|event| event.position < batch.at(0));
        self.events.truncate(before);
        self.text.truncate(self.events.last().map_or(0, |last| last.end));
    }

    /// Returns the chunk from `after` to `to`, and empties the builder.
    pub(crate) fn finish(&mut self, after: Position, to: Position, gap: Option<Gap>) -> Chunk {
        let ChunkBuilder { text, events } = std::mem::take(self);
        Chunk { after, to, gap, text: text.into(), events }
    }
}
