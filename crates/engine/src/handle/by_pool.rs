//! Metrics by pool. The largest pools have a label of their own, the others share one, so that the
//! number of series has a limit. All servers of a ledger give a pool the same label.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use pool::{EndReason, Pool, PoolId, PoolName};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeMetric, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::handle::Handle;
use crate::metrics::{Counts, NAMED, OTHER, REFUSALS, Scraped, label};
use crate::shared::Shared;

/// Number of pools that are read under one lock. The writer needs the lock to publish a batch, and
/// takes it between two such steps.
const AT_ONCE: usize = 64;

/// Usage of a pool, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Usage {
    size: usize,
    active: usize,
    available: usize,
    waiting: usize,
    longest_wait: Duration,
}

impl Usage {
    fn add(mut self, more: &Usage) -> Usage {
        self.size += more.size;
        self.active += more.active;
        self.available += more.available;
        self.waiting += more.waiting;
        self.longest_wait = self.longest_wait.max(more.longest_wait);
        self
    }

    /// Tokens without a lease that taints keep from new ones. The sum of steps that were read at
    /// different times has no exact value.
    fn tainted(&self) -> usize {
        self.size.saturating_sub(self.active + self.available)
    }
}

struct PoolUsage {
    id: PoolId,
    name: PoolName,
    usage: Usage,
}

/// Usage of all pools by this server's copy of the ledger; `None` until the ledger is loaded. Calls
/// `between` after each step, when the lock is released.
fn usage(shared: &Shared, between: impl Fn()) -> Option<Vec<PoolUsage>> {
    let mut pools: Vec<PoolUsage> = Vec::new();
    let mut last = PoolId(i32::MIN);
    loop {
        let now = shared.estimate();
        let before = pools.len();
        {
            let copy = shared.copy();
            let copy = copy.as_ref()?;
            let observer = shared.observer(copy, now.max(copy.at));
            let now = observer.now;
            pools.extend(copy.ledger.pools_after(last).take(AT_ONCE).map(|pool: &Pool| {
                let mut live = pool.tickets().filter(|ticket| ticket.is_live(&observer));
                let first = live.next();
                let usage = Usage {
                    size: pool.size(),
                    active: pool.active(now),
                    available: pool.available_at(now),
                    waiting: usize::from(first.is_some()) + live.count(),
                    longest_wait: first.map(|first| now.since(first.since)).unwrap_or_default(),
                };
                PoolUsage { id: pool.id(), name: pool.name().clone(), usage }
            }));
        }
        between();
        match pools.last() {
            Some(pool) if pools.len() == before + AT_ONCE => last = pool.id,
            _ => return Some(pools),
        }
    }
}

/// Splits the pools into those with a label of their own, the largest, and the others.
fn split(pools: &mut [PoolUsage]) -> (&mut [PoolUsage], &mut [PoolUsage]) {
    if pools.len() > NAMED {
        pools.select_nth_unstable_by(NAMED, |one, other| {
            other.usage.size.cmp(&one.usage.size).then_with(|| one.name.cmp(&other.name))
        });
    }
    pools.split_at_mut(NAMED.min(pools.len()))
}

/// Metrics by pool, read at the time of a scrape.
pub(super) struct ByPool(pub Handle);

impl fmt::Debug for ByPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByPool").finish_non_exhaustive()
    }
}

impl Collector for ByPool {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shared = &self.0.shared;
        let mut show = Show(encoder);
        let mut labels = None;
        if let Some(mut pools) = usage(shared, || ()) {
            let (named, others) = split(&mut pools);
            named.sort_unstable_by(|one, other| one.name.cmp(&other.name));
            let mut gauges: Vec<(Cow<'static, str>, Usage)> =
                named.iter().map(|pool| (label(&pool.name), pool.usage.clone())).collect();
            if !others.is_empty() {
                let sum = others.iter().fold(Usage::default(), |sum, pool| sum.add(&pool.usage));
                gauges.push((OTHER.into(), sum));
            }
            show.gauges(&gauges)?;
            let named = named.iter().map(|pool| (pool.id, Some(pool.name.clone())));
            let others = others.iter().map(|pool| (pool.id, None));
            labels = Some(named.chain(others).collect::<HashMap<_, _>>());
        }
        show.counters(&shared.metrics.pools.scrape(labels, Scraped::totals))
    }
}

struct Show<'a>(DescriptorEncoder<'a>);

impl Show<'_> {
    fn gauges(&mut self, pools: &[(Cow<'static, str>, Usage)]) -> fmt::Result {
        let help = "Tokens, with those that are being retired (shared).";
        self.gauge(("tokens", help, None), pools, |usage| usage.size)?;
        let help = "Tokens with a running lease; leases past their deadline don't count (shared).";
        self.gauge(("tokens_active", help, None), pools, |usage| usage.active)?;
        let help = "Tokens that allocations can get at once (shared).";
        self.gauge(("tokens_available", help, None), pools, |usage| usage.available)?;
        let help = "Tokens without a running lease that taints, such as a cordon, keep from new ones (shared).";
        self.gauge(("tokens_tainted", help, None), pools, Usage::tainted)?;
        let help = "Allocations in the queue (shared).";
        self.gauge(("allocations_waiting", help, None), pools, |usage| usage.waiting)?;
        let help = "Time that the first allocation in the queue has waited; 0 without a queue. Of the \
             other pools, the longest (shared).";
        let longest = |usage: &Usage| usage.longest_wait.as_secs_f64();
        self.gauge(("allocation_longest_wait", help, Some(&Unit::Seconds)), pools, longest)
    }

    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        (name, help, unit): (&str, &str, Option<&Unit>),
        pools: &[(Cow<'static, str>, Usage)],
        value: impl Fn(&Usage) -> V,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        pools.iter().try_for_each(|(pool, usage)| {
            ConstGauge::new(value(usage)).encode(family.encode_family(&[("pool", &**pool)])?)
        })
    }

    fn counters(&mut self, pools: &[(Cow<'static, str>, Counts)]) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut family = self.0.encode_descriptor("allocations", "Leases granted.", None, kind)?;
        for (pool, counts) in pools {
            count(&mut family, &[("pool", pool)], counts.started)?;
        }
        let help = "Leases that ended, by reason.";
        let mut family = self.0.encode_descriptor("lease_ends", help, None, kind)?;
        for (pool, counts) in pools {
            for reason in EndReason::ALL {
                // No lease here ends as imported, so that label is not exported.
                if reason != EndReason::Imported {
                    let labels = [("pool", &**pool), ("reason", reason.as_str())];
                    count(&mut family, &labels, counts.ended[reason as usize])?;
                }
            }
        }
        let help = "Allocations that got no token because of their pool, by error code.";
        let mut family = self.0.encode_descriptor("allocations_refused", help, None, kind)?;
        for (pool, counts) in pools {
            for (code, refused) in REFUSALS.into_iter().zip(counts.refused) {
                count(&mut family, &[("pool", &**pool), ("code", code)], refused)?;
            }
        }
        Ok(())
    }
}

fn count<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    count: u64,
) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(labels)?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use pool::{Change, Policy, PoolRecord, Timestamp};
    use store::{News, Position, Snapshot};

    use super::*;
    use crate::machine::Machine;
    use crate::replica::NOWHERE;

    fn pool(id: i32, size: usize) -> PoolUsage {
        let name = PoolName::new(&format!("pool-{id:05}")).unwrap();
        PoolUsage { id: PoolId(id), name, usage: Usage { size, ..Usage::default() } }
    }

    #[test]
    fn the_largest_pools_have_labels_and_names_decide_between_equals() {
        let small = |number: i32| pool(number, usize::from(number % 2 == 0));
        // 300 pools of one token and 300 without, before and after one of two tokens.
        let mut pools: Vec<_> = (0..300).map(small).chain([pool(700, 2)]).collect();
        pools.extend((300..600).map(small));
        let mut named: Vec<i32> = split(&mut pools).0.iter().map(|pool| pool.id.0).collect();
        named.sort_unstable();
        let expected = (0..199).map(|number| number * 2).chain([700]);
        assert_eq!(named, expected.collect::<Vec<_>>());
        let mut few = vec![pool(1, 0), pool(2, 1)];
        let (named, others) = split(&mut few);
        assert_eq!((named.len(), others.len()), (2, 0));
    }

    #[test]
    fn batches_are_published_while_pools_are_read() {
        let (shared, ..) = Shared::new(Duration::ZERO, Machine::this());
        assert!(usage(&shared, || ()).is_none(), "the ledger is not loaded");
        let mut ledger = pool::Ledger::default();
        let count = 3 * AT_ONCE;
        for id in 1..=i32::try_from(count).unwrap() {
            let name = PoolName::new(&format!("pool-{id}")).unwrap();
            let record = PoolRecord::new(
                PoolId(id),
                name,
                Policy::of_lease(Duration::from_mins(1)),
                Timestamp::MIN,
            );
            ledger.apply(&Change::PoolCreated(record)).unwrap();
        }
        let position = Position { epoch: 1, version: 1, ..NOWHERE };
        let whole = News::Whole(Box::new(Snapshot { position, at: Timestamp::MIN, ledger }));
        shared.publish(&NOWHERE, whole, None);
        let between = Cell::new(0);
        let step = || {
            between.set(between.get() + 1);
            assert!(shared.is_unlocked(), "the writer would wait");
        };
        let pools = usage(&shared, step).unwrap();
        assert_eq!((pools.len(), between.get()), (count, 4));
    }
}
