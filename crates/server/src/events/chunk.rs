use bytes::Bytes;
use engine::Event;
use pool::{TokenId, UserId};

use super::filter::Filter;
use super::format;
use super::position::Position;

/// What happened in some batches that follow one another, written down once for all streams.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The end of the batch before the first.
    pub(crate) after: Position,
    /// The end of the last batch. Where there is a gap, it is all a gap up to here.
    pub(crate) to: Position,
    pub(crate) gap: Option<Gap>,
    text: Bytes,
    events: Vec<Written>,
}

/// Why what happened is not in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// It was too much.
    TooMuch,
    /// The pool was taken anew: places before may mean something else now.
    Reloaded,
}

/// An event within a chunk's text.
#[derive(Debug)]
struct Written {
    position: Position,
    user: UserId,
    token: TokenId,
    /// Where its text ends; it begins where that of the event before ends.
    end: usize,
}

impl Chunk {
    /// The text of the events after `sent` that pass.
    pub(crate) fn text(&self, sent: Position, filter: &Filter) -> Bytes {
        let first = self.events.partition_point(|event| event.position <= sent);
        let mut begin = first.checked_sub(1).map_or(0, |last| self.events[last].end);
        if filter.is_all() {
            return self.text.slice(begin..);
        }
        let mut text = Vec::new();
        for event in &self.events[first..] {
            if filter.passes(event.user, event.token) {
                text.extend_from_slice(&self.text[begin..event.end]);
            }
            begin = event.end;
        }
        text.into()
    }
}

/// A chunk in the making.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuilder {
    text: Vec<u8>,
    events: Vec<Written>,
}

impl ChunkBuilder {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds an event of the batch at `batch`; returns how many bytes that took.
    pub(crate) fn push(&mut self, batch: Position, event: &Event) -> usize {
        let begin = self.text.len();
        format::event(&mut self.text, batch, event);
        let end = self.text.len();
        let position = batch.at(event.index);
        let (user, token) = (event.lease.user.id, event.lease.token_id);
        self.events.push(Written { position, user, token, end });
        end - begin
    }

    /// Takes the events of that batch out again, with which nothing follows.
    pub(crate) fn take_back(&mut self, batch: Position) {
        let before = self.events.partition_point(|event| event.position < batch.at(0));
        self.events.truncate(before);
        self.text.truncate(self.events.last().map_or(0, |last| last.end));
    }

    /// The chunk from `after` to `to`. Nothing is left.
    pub(crate) fn finish(&mut self, after: Position, to: Position, gap: Option<Gap>) -> Chunk {
        let ChunkBuilder { text, events } = std::mem::take(self);
        Chunk { after, to, gap, text: text.into(), events }
    }
}
