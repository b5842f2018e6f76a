//! Lineage of a journal entry: the cluster, and the run of it, that wrote it. Stored in the column
//! `timeline`.

use std::fmt;

/// The cluster and the run of it that a session is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// PostgreSQL's own count of failovers and restores: eight hexadecimal digits.
    pub(crate) timeline: String,
    /// The cluster's identifier; `None` where the role may not ask for it.
    pub(crate) system: Option<String>,
    /// When this run of the cluster started.
    pub(crate) start: String,
}

/// An entry's lineage, as far as it was recorded.
struct Recorded<'a> {
    timeline: &'a str,
    system: Option<&'a str>,
    start: Option<&'a str>,
    weak: bool,
}

/// Marks entries whose loss in a crash was possible.
const WEAK: &str = "weak";

/// Represents an unknown system identifier.
const UNKNOWN: &str = "-";

impl Lineage {
    /// The text for a journal entry. `weak`: a crash of the machine may lose the entry although its
    /// commit was acknowledged.
    pub(crate) fn record(&self, weak: bool) -> String {
        format!("{self}{}", if weak { " weak" } else { "" })
    }

    /// Whether entries may have been lost after the newest one, which has `recorded`: then the
    /// next one must begin a new epoch.
    /// True on another timeline or cluster, and after a restart if durability was weak before it or
    /// is now. After a restart with full durability nothing is lost.
    pub(crate) fn may_have_lost(&self, recorded: &str, weak: bool) -> bool {
        let before = Recorded::parse(recorded);
        let other_system = before.system.zip(self.system.as_deref()).is_some_and(|(a, b)| a != b);
        let restarted = before.start.is_none_or(|start| start != self.start);
        before.timeline != self.timeline || other_system || (restarted && (before.weak || weak))
    }

    /// Whether this run of the cluster wrote `recorded` with weak durability. A later change of
    /// settings does not bring earlier entries to disk.
    pub(crate) fn was_weak(&self, recorded: &str) -> bool {
        let before = Recorded::parse(recorded);
        before.weak && before.start == Some(&*self.start)
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lineage { timeline, system, start } = self;
        write!(f, "{timeline} {} {start}", system.as_deref().unwrap_or(UNKNOWN))
    }
}

impl<'a> Recorded<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(' ');
        Recorded {
            timeline: parts.next().unwrap_or_default(),
            system: parts.next().filter(|system| *system != UNKNOWN),
            start: parts.next(),
            weak: parts.next() == Some(WEAK),
        }
    }
}

/// The timeline alone, for messages.
pub(crate) fn timeline(recorded: &str) -> &str {
    Recorded::parse(recorded).timeline
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(timeline: &str, system: &str, start: &str) -> Lineage {
        Lineage {
            timeline: timeline.to_owned(),
            system: Some(system.to_owned()),
            start: start.to_owned(),
        }
    }

    #[test]
    fn an_epoch_begins_where_entries_may_have_been_lost() {
        let now = lineage("00000001", "abc", "12");
        let unknown = Lineage { system: None, ..now.clone() };
        for (before, weak_before, weak_now, lost) in [
            (now.clone(), false, false, false),
            (now.clone(), true, false, false),
            (now.clone(), false, true, false),
            (lineage("00000001", "abc", "11"), false, false, false),
            (lineage("00000001", "abc", "11"), true, false, true),
            (lineage("00000001", "abc", "11"), false, true, true),
            (lineage("00000002", "abc", "12"), false, false, true),
            (lineage("00000001", "abd", "12"), false, false, true),
            (unknown.clone(), false, false, false),
        ] {
            let recorded = before.record(weak_before);
            assert_eq!(now.may_have_lost(&recorded, weak_now), lost, "{recorded} {weak_now}");
        }
        assert!(!unknown.may_have_lost(&now.record(false), false));
    }

    #[test]
    fn an_entry_with_a_timeline_only_is_understood() {
        let now = lineage("00000001", "abc", "12");
        assert!(!now.may_have_lost("00000001", false));
        assert!(now.may_have_lost("00000002", false));
        assert!(now.may_have_lost("00000001", true), "it may be of an earlier run");
        assert_eq!(timeline(&now.record(true)), "00000001");
    }

    #[test]
    fn what_was_written_with_weak_durability_stays_so_until_a_restart() {
        let now = lineage("00000001", "abc", "12");
        assert!(now.was_weak(&now.record(true)));
        assert!(!now.was_weak(&now.record(false)));
        assert!(!lineage("00000001", "abc", "13").was_weak(&now.record(true)));
    }
}
