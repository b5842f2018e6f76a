use std::fmt;

use engine::EventBatch;

/// Position of a stream in the journal: everything up to here.
///
/// Text form: `EPOCH-VERSION` for a whole batch, else `EPOCH-VERSION-INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) epoch: i64,
    pub(crate) version: i64,
    /// Index of the last event in the batch; [`WHOLE`] for all of them.
    index: usize,
}

const WHOLE: usize = usize::MAX;

impl Position {
    /// The end of that batch.
    pub(crate) fn whole(epoch: i64, version: i64) -> Self {
        Position { epoch, version, index: WHOLE }
    }

    pub(crate) fn of(published: &EventBatch) -> Self {
        Position::whole(published.epoch, published.version)
    }

    /// The position after that event of the same batch.
    pub(crate) fn at(self, index: usize) -> Self {
        Position { index, ..self }
    }

    /// The end of the previous batch, assuming consecutive versions.
    pub(crate) fn before(self) -> Self {
        Position::whole(self.epoch, self.version - 1)
    }

    /// Parses the text form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(|digits| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<i64>().ok().filter(|_| plain)
        });
        let (epoch, version) = (numbers.next()??, numbers.next()??);
        let index = match numbers.next() {
            None => WHOLE,
            Some(index) => usize::try_from(index?).ok()?,
        };
        numbers.next().is_none().then_some(Position { epoch, version, index })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { epoch, version, index } = self;
        write!(f, "{epoch}-{version}")?;
        if *index != WHOLE {
            write!(f, "-{index}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_as_they_are_written() {
        for text in ["1-1", "1-57-0", "12-9223372036854775807-4294967295"] {
            assert_eq!(
                Position::parse(text).map(|position| position.to_string()).as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn nothing_else_is_read() {
        for text in [
            "",
            "1",
            "1-",
            "-1",
            "1-2-",
            "1-2-3-",
            "1-2-3-4",
            "a-b",
            "1-+2",
            "1- 2",
            "1--2",
            "1-2-x",
            "1-9223372036854775808",
            "1-2-99999999999999999999",
            "١-٢",
        ] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_batch_is_whole_after_its_last_event() {
        let whole = Position::whole(1, 5);
        assert!(whole.at(0) < whole.at(1) && whole.at(1) < whole);
        assert!(whole.before() < whole.at(0) && whole < Position::whole(1, 6).at(0));
        assert!(Position::whole(1, 9) < Position::whole(2, 1).at(0));
    }
}
