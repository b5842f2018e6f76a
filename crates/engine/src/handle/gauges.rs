//! Gauges of the ledger and of the database, read at the time of a scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use store::LogSize;

use crate::Health;
use crate::handle::Handle;
use crate::handle::by_pool::ByPool;

impl Handle {
    /// Registers the engine's counters, and gauges of the ledger. The gauges read the server's copy
    /// of the ledger and never query the database.
    pub fn register_metrics(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(ByPool(self.clone())));
        self.shared.metrics.register(registry);
        registry.register_collector(Box::new(Gauges(self.clone())));
    }
}

/// Gauges that are read at the time of a scrape.
struct Gauges(Handle);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Handle { shared, mailbox, .. } = &self.0;
        let (health, most) = (shared.health(), mailbox.max_capacity());
        let mut show = Show(&mut encoder);
        let up = u64::from(health == Health::Ready);
        show.gauge(
            "database_up",
            "1 while the database can be read and written, else 0",
            None,
            up,
        )?;
        show.states(health)?;
        let help = "Requests queued for the next batch";
        show.gauge(
            "mailbox_requests",
            help,
            None,
            most - mailbox.capacity() + shared.metrics.requests_left(),
        )?;
        let help = "Maximum number of queued requests; beyond it requests get busy. One more batch may \
             be queued while the database is unavailable";
        show.gauge("mailbox_capacity", help, None, most)?;
        let (keys, keys_limit) = shared.metrics.remembered_keys();
        if keys_limit > 0 {
            let help = "Remembered idempotency keys, counted every ten seconds (shared)";
            show.gauge("idempotency_keys", help, None, keys)?;
            let help = "Maximum number of remembered idempotency keys";
            show.gauge("idempotency_keys_limit", help, None, keys_limit)?;
        }
        let help = "How far the clock, the database's with PostgreSQL, is behind the ledger's time, \
             which continues without it";
        let behind = shared.time.behind().as_secs_f64();
        show.gauge("clock_behind", help, Some(&Unit::Seconds), behind)?;
        if let Some(log) = shared.log_size() {
            show.log(log)?;
        }
        show.durability(&shared.durability())?;
        let keys = self.0.access(|access, now| (access.len(), access.running_sessions(now)));
        let position = shared.copy().as_ref().map(|copy| copy.position);
        let Some((position, (keys, sessions))) = position.zip(keys) else { return Ok(()) };
        let help = "API keys that were not revoked (shared)";
        show.gauge("api_keys", help, None, keys)?;
        let help = "Sessions of browsers that signed in with an API key (shared)";
        show.gauge("sessions", help, None, sessions)?;
        let help = "Epoch of the journal. A new one begins after a restore, a failover, or a crash \
             without full durability (shared)";
        show.gauge("journal_epoch", help, None, position.epoch)?;
        let help = "Version of the newest journal entry that this server knows. Servers that differ \
             for long have lost contact (shared)";
        show.gauge("journal_version", help, None, position.version)
    }
}

struct Show<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Show<'_, '_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        let help = format!("{help}.");
        gauge.encode(self.0.encode_descriptor(name, &help, unit, gauge.metric_type())?)
    }

    /// Write-ahead log, if this server has to empty one.
    fn log(&mut self, log: LogSize) -> fmt::Result {
        let help = "Size of SQLite's write-ahead log";
        self.gauge("write_ahead_log", help, Some(&Unit::Bytes), log.bytes)?;
        let help = "Size above which the server empties SQLite's write-ahead log";
        self.gauge("write_ahead_log_limit", help, Some(&Unit::Bytes), log.limit)?;
        let help = "Failed attempts to empty SQLite's write-ahead log, mostly because another program \
             reads the database.";
        let failures = ConstCounter::new(log.failures);
        let of = failures.metric_type();
        failures.encode(self.0.encode_descriptor("checkpoint_failures", help, None, of)?)
    }

    /// One for each database setting on which durability depends.
    fn durability(&mut self, settings: &[(&'static str, bool)]) -> fmt::Result {
        let help = "1 while a database setting allows that committed leases are lost in a crash or \
             failover, else 0 (shared). unlogged: a table is unlogged. \
             synchronous_standby_names: no standby is named.";
        let of = ConstGauge::new(0).metric_type();
        let name = "database_durability_weakened";
        let mut family = self.0.encode_descriptor(name, help, None, of)?;
        settings.iter().try_for_each(|(setting, weak)| {
            ConstGauge::new(u64::from(*weak))
                .encode(family.encode_family(&[("setting", *setting)])?)
        })
    }

    /// One for each state, of which one is 1.
    fn states(&mut self, health: Health) -> fmt::Result {
        let states = [
            (Health::Ready, "ready"),
            (Health::Starting, "starting"),
            (Health::Blocked, "blocked"),
            (Health::Away, "away"),
            (Health::Stopped, "stopped"),
        ];
        let gauge = |state| ConstGauge::new(u64::from(state == health));
        let help = "1 for the current state of the database, else 0. blocked: it can be read but not \
             written.";
        let of = gauge(health).metric_type();
        let mut family = self.0.encode_descriptor("database_state", help, None, of)?;
        states.into_iter().try_for_each(|(state, word)| {
            gauge(state).encode(family.encode_family(&[("state", word)])?)
        })
    }
}
