//! Counters by pool, and the labels of pools.
//!
//! The writer counts into a map that a scrape exchanges for an empty one, so that neither waits for
//! more than that.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pool::{EndReason, Ledger, PoolId, PoolName, Refusal};

/// Maximum number of pools with a label of their own.
pub(crate) const NAMED: usize = 200;

/// Label of all other pools together.
pub(crate) const OTHER: &str = "other";

/// Label of a pool whose name is [`OTHER`]. No pool can have this name.
const NAMED_OTHER: &str = "other_";

/// Codes of the counted refusals, as in the API.
pub(crate) const REFUSALS: [&str; 4] = ["pool-full", "queue-full", "no-tokens", "user-limit"];

/// Counted events of one pool, or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub started: u64,
    /// By [`EndReason`].
    pub ended: [u64; EndReason::ALL.len()],
    /// In the order of [`REFUSALS`].
    pub refused: [u64; REFUSALS.len()],
}

impl Counts {
    fn add(&mut self, more: &Counts) {
        self.started += more.started;
        let ended = self.ended.iter_mut().zip(more.ended);
        let refused = self.refused.iter_mut().zip(more.refused);
        ended.chain(refused).for_each(|(count, more)| *count += more);
    }

    /// Counts a refusal for want of tokens. Other refusals are about the request, not about the pool.
    fn refuse(&mut self, refusal: &Refusal) {
        let code = match refusal {
            Refusal::Full { .. } => 0,
            Refusal::QueueFull => 1,
            Refusal::NoTokens => 2,
            Refusal::UserLimit { .. } => 3,
            _ => return,
        };
        self.refused[code] += 1;
    }
}

/// A hash of one multiplication: numbers of pools are not chosen by clients.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_i32(i32::from(*byte));
        }
    }

    fn write_i32(&mut self, number: i32) {
        let number = u64::from(number.cast_unsigned()) ^ self.0;
        // The table needs the high bits, and the low ones, too.
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_right(32);
    }
}

type ByNumber = HashMap<PoolId, Counts, BuildHasherDefault<NumberHasher>>;

/// Counters by pool.
#[derive(Default)]
pub(crate) struct ByPool {
    /// Events since the last scrape.
    recent: Mutex<ByNumber>,
    scraped: Mutex<Scraped>,
}

/// The writer's access to the counters, for one batch.
pub(crate) struct Counting<'a>(MutexGuard<'a, ByNumber>);

impl Counting<'_> {
    /// The counts of a pool. While nothing scrapes, pools that came and went don't add up without
    /// limit: beyond twice as many as a ledger can have, they are counted together.
    pub fn of(&mut self, pool: PoolId) -> &mut Counts {
        let recent = &mut self.0;
        let is_full = recent.len() >= MOST_POOLS && !recent.contains_key(&pool);
        recent.entry(if is_full { NO_POOL } else { pool }).or_default()
    }
}

/// More than a ledger has at once, so that the pools of a full one need a single look-up.
const MOST_POOLS: usize = 2 * Ledger::MAX_POOLS;

/// A number that no pool has.
const NO_POOL: PoolId = PoolId(i32::MIN);

impl ByPool {
    pub fn counting(&self) -> Counting<'_> {
        Counting(self.recent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts refused allocations.
    pub fn refused<'a>(&self, refused: impl IntoIterator<Item = (PoolId, &'a Refusal)>) {
        let mut refused = refused.into_iter().peekable();
        if refused.peek().is_some() {
            let mut counting = self.counting();
            refused.for_each(|(pool, refusal)| counting.of(pool).refuse(refusal));
        }
    }

    /// Adds the events since the last scrape, and hands over the result. `pools` are all pools, by
    /// number, each with its label if it has one of its own; `None` if they are unknown: then those of
    /// the last scrape count.
    pub fn scrape<T>(
        &self,
        pools: Option<HashMap<PoolId, Option<PoolName>>>,
        show: impl FnOnce(&Scraped) -> T,
    ) -> T {
        let mut scraped = self.scraped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pools) = pools {
            scraped.own.retain(|pool, _| pools.contains_key(pool));
            scraped.pools = pools;
        }
        if !scraped.pools.is_empty() {
            let mut recent = mem::take(&mut scraped.spare);
            mem::swap(&mut recent, &mut *self.counting().0);
            scraped.add(&recent);
            recent.clear();
            scraped.spare = recent;
        }
        show(&scraped)
    }
}

/// Totals as of the last scrape. An event is added once, to the label that its pool has then. So no
/// total ever decreases, whichever label a pool gets later.
#[derive(Default)]
pub(crate) struct Scraped {
    pools: HashMap<PoolId, Option<PoolName>>,
    /// Totals of the pools that have a label of their own, or had one.
    own: HashMap<PoolId, Counts>,
    other: Counts,
    /// An empty map with memory, for the next exchange.
    spare: ByNumber,
}

impl Scraped {
    fn add(&mut self, recent: &ByNumber) {
        for (pool, counts) in recent {
            let is_named = matches!(self.pools.get(pool), Some(Some(_)));
            let total = if is_named { self.own.entry(*pool).or_default() } else { &mut self.other };
            total.add(counts);
        }
    }

    /// Labels with their totals, sorted; the other pools come last, if there are any or were. Empty
    /// before the first scrape that knew the pools.
    pub fn totals(&self) -> Vec<(Cow<'static, str>, Counts)> {
        let total = |(pool, name): (&PoolId, &Option<PoolName>)| {
            let counts = self.own.get(pool).cloned().unwrap_or_default();
            Some((label(name.as_ref()?), counts))
        };
        let mut totals: Vec<_> = self.pools.iter().filter_map(total).collect();
        totals.sort_unstable_by(|(label, _), (other, _)| label.cmp(other));
        if self.pools.values().any(Option::is_none) || self.other != Counts::default() {
            totals.push((OTHER.into(), self.other.clone()));
        }
        totals
    }
}

/// Label of a pool of its own.
pub(crate) fn label(name: &PoolName) -> Cow<'static, str> {
    if name.as_str() == OTHER { NAMED_OTHER.into() } else { name.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PoolId = PoolId(1);
    const B: PoolId = PoolId(2);

    /// The totals of started leases at a scrape at which these pools exist.
    fn scrape(of: &ByPool, pools: &[(PoolId, Option<&str>)]) -> Vec<(String, u64)> {
        let named = |name: &&str| PoolName::new(name).unwrap();
        let pools = pools.iter().map(|(pool, name)| (*pool, name.as_ref().map(named)));
        let totals = of.scrape(Some(pools.collect()), Scraped::totals);
        totals.into_iter().map(|(label, counts)| (label.into_owned(), counts.started)).collect()
    }

    fn start(of: &ByPool, pool: PoolId, count: u64) {
        of.counting().of(pool).started += count;
    }

    fn total(label: &str, count: u64) -> (String, u64) {
        (label.to_owned(), count)
    }

    #[test]
    fn no_counter_decreases_when_a_pool_moves_between_its_label_and_the_others() {
        let of = ByPool::default();
        start(&of, A, 1);
        start(&of, B, 10);
        let a_named = [(A, Some("a")), (B, None)];
        let b_named = [(A, None), (B, Some("b"))];
        assert_eq!(scrape(&of, &a_named), [total("a", 1), total("other", 10)]);
        start(&of, A, 2);
        start(&of, B, 20);
        assert_eq!(scrape(&of, &b_named), [total("b", 20), total("other", 12)]);
        assert_eq!(scrape(&of, &b_named), [total("b", 20), total("other", 12)]);
        start(&of, A, 3);
        start(&of, B, 30);
        // Back again, each counter goes on from where it was.
        assert_eq!(scrape(&of, &a_named), [total("a", 4), total("other", 42)]);
        assert_eq!(scrape(&of, &b_named), [total("b", 20), total("other", 42)]);
    }

    #[test]
    fn the_last_events_of_a_deleted_pool_count_among_the_others() {
        let of = ByPool::default();
        start(&of, A, 1);
        start(&of, B, 1);
        scrape(&of, &[(A, Some("a")), (B, Some("b"))]);
        start(&of, B, 2);
        assert_eq!(scrape(&of, &[(A, Some("a"))]), [total("a", 1), total("other", 2)]);
        // A later pool of the same name begins at 0.
        let of_same_name = [(A, Some("a")), (PoolId(3), Some("b"))];
        assert_eq!(scrape(&of, &of_same_name), [total("a", 1), total("b", 0), total("other", 2)]);
    }

    #[test]
    fn a_pool_named_like_the_others_is_told_apart() {
        let of = ByPool::default();
        start(&of, A, 1);
        start(&of, B, 2);
        let totals = scrape(&of, &[(A, Some("other")), (B, None)]);
        assert_eq!(totals, [total("other_", 1), total("other", 2)]);
        assert!(PoolName::new(NAMED_OTHER).is_err(), "a pool could have this name");
    }

    #[test]
    fn while_pools_are_unknown_nothing_is_lost() {
        let of = ByPool::default();
        start(&of, A, 1);
        assert!(of.scrape(None, Scraped::totals).is_empty());
        assert_eq!(scrape(&of, &[(A, Some("a"))]), [total("a", 1)]);
        start(&of, A, 1);
        let totals = of.scrape(None, Scraped::totals);
        assert_eq!(totals[0].1.started, 2, "as the pools were before");
    }

    #[test]
    fn without_scrapes_the_memory_has_a_limit() {
        let of = ByPool::default();
        for number in 1..=30_000 {
            start(&of, PoolId(number), 1);
        }
        start(&of, A, 1);
        assert_eq!(of.counting().0.len(), MOST_POOLS + 1);
        assert_eq!(scrape(&of, &[(A, Some("a"))]), [total("a", 2), total("other", 29_999)]);
    }

    #[test]
    fn refusals_for_want_of_tokens_are_counted() {
        let of = ByPool::default();
        let full = Refusal::Full { position: 1, retry_after: std::time::Duration::ZERO };
        of.refused([(A, &full), (A, &full), (A, &Refusal::QueueFull), (A, &Refusal::NoTokens)]);
        of.refused([(A, &Refusal::UserLimit { limit: 1 }), (A, &Refusal::KeyReused)]);
        assert_eq!(of.counting().of(A).refused, [2, 1, 1, 1]);
    }
}
