//! The open connections, and which of them to close at a limit.
//!
//! At a limit, the connection that has been idle longest is closed for a new one. If none is idle, a
//! small reserve accepts new connections, but serves only health and metrics on them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use super::activity::Activity;
use super::memory::{Charge, ResponseMemory};
use crate::metrics::counters::{Counters, counters};

/// Connections beyond the limit, for health and metrics.
pub(crate) const RESERVE: usize = 32;

/// Number of idle connections that one scan finds.
const CANDIDATES: usize = 64;

/// Interval between scans for idle connections.
const SCAN_EVERY: Duration = Duration::from_millis(5);

/// Interval at which the log repeats that the limit is reached.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Interval between scans for unread responses.
const CUT_EVERY: Duration = Duration::from_millis(20);

/// Time for which a response must be unread before its connection may be cut for its memory.
pub(crate) const UNREAD_FOR: Duration = Duration::from_secs(2);

/// All connections of a server.
pub(crate) struct Connections {
    limit: usize,
    /// Limit for each client address, except loopback.
    per_address: usize,
    pub(crate) memory: Arc<ResponseMemory>,
    entries: Mutex<Entries>,
    /// Connections that were closed, refused or admitted only to the reserve to protect others, by reason.
    pub(crate) dropped: Counters,
}

#[derive(Default)]
struct Entries {
    next: u64,
    all: HashMap<u64, Entry>,
    /// Number of connections in `all` outside the reserve, by address.
    regular: HashMap<IpAddr, usize>,
    reserved: usize,
    candidates: Candidates,
    logged: Option<Instant>,
    cut: Option<Instant>,
}

struct Entry {
    activity: Arc<Activity>,
    address: IpAddr,
    reserved: bool,
}

/// Connections that were idle at the last scan, the longest idle last.
#[derive(Default)]
struct Candidates {
    among: Option<Among>,
    idle: Vec<(Instant, u64)>,
    scanned: Option<Instant>,
}

/// Connections of which one may be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    All,
    Of(IpAddr),
    Reserved,
}

/// Decision about a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Free,
    /// Accepted in place of an idle one that was closed.
    Replacing,
    Reserved,
    Refused,
}

impl Connections {
    pub(crate) fn new(limit: usize, per_address: usize, memory: Arc<ResponseMemory>) -> Arc<Self> {
        let dropped = counters("reason", ["idle", "refused", "reserved", "unread"]);
        Arc::new(Connections { limit, per_address, memory, entries: Mutex::default(), dropped })
    }

    /// Admits a connection from this address; None if it is refused. `open` counts the connections of
    /// its listener.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, open: &Gauge) -> Option<OpenConnection> {
        let address = address.to_canonical();
        let mut entries = self.lock();
        let admission = self.admit(&mut entries, address);
        match admission {
            Admission::Free => {}
            Admission::Replacing => self.count("idle"),
            Admission::Reserved => self.count("reserved"),
            Admission::Refused => self.count("refused"),
        }
        if admission != Admission::Free {
            self.log(&mut entries, address);
        }
        if admission == Admission::Refused {
            return None;
        }
        let reserved = admission == Admission::Reserved;
        let activity = Arc::new(Activity::new(address, Arc::clone(&self.memory), reserved));
        let id = entries.next;
        entries.next += 1;
        let entry = Entry { activity: Arc::clone(&activity), address, reserved };
        entries.all.insert(id, entry);
        if reserved {
            entries.reserved += 1;
        } else {
            *entries.regular.entry(address).or_default() += 1;
        }
        drop(entries);
        open.inc();
        Some(OpenConnection { connections: Arc::clone(self), id, activity, gauge: open.clone() })
    }

    fn admit(&self, entries: &mut Entries, address: IpAddr) -> Admission {
        let regular = entries.all.len() - entries.reserved;
        let of_address = entries.regular.get(&address).copied().unwrap_or(0);
        let among = if !address.is_loopback() && of_address >= self.per_address {
            Among::Of(address)
        } else if regular >= self.limit {
            Among::All
        } else {
            return Admission::Free;
        };
        if entries.close_idle(among) {
            return Admission::Replacing;
        }
        if entries.reserved < RESERVE || entries.close_idle(Among::Reserved) {
            return Admission::Reserved;
        }
        Admission::Refused
    }

    fn log(&self, entries: &mut Entries, address: IpAddr) {
        let now = Instant::now();
        if entries.logged.is_some_and(|logged| now - logged < LOG_EVERY) {
            return;
        }
        entries.logged = Some(now);
        tracing::warn!(
            open = entries.all.len(),
            limit = self.limit,
            limit_per_address = self.per_address,
            %address,
            of_address = entries.regular.get(&address).copied().unwrap_or(0),
            "connection limit reached; closing the longest idle, or serving only health and metrics"
        );
    }

    /// Charges memory for a large response. Without enough memory, cuts a connection to free some.
    pub(crate) fn try_charge(&self, bytes: usize) -> Option<Charge> {
        let charge = self.memory.try_charge(bytes);
        if charge.is_none() {
            self.cut_longest_unread();
        }
        charge
    }

    /// Cuts the connection with the longest unread response to free its memory, if it has
    /// been unread for [`UNREAD_FOR`]. Rate limited, because it scans all connections.
    pub(crate) fn cut_longest_unread(&self) {
        let mut entries = self.lock();
        let now = Instant::now();
        if entries.cut.is_some_and(|cut| now - cut < CUT_EVERY) {
            return;
        }
        entries.cut = Some(now);
        let unread = entries
            .all
            .iter()
            .filter_map(|(id, entry)| Some((entry.activity.unread_since()?, *id)));
        let longest = unread.min().filter(|(since, _)| now - *since >= UNREAD_FOR);
        if let Some(entry) = longest.and_then(|(_, id)| entries.remove(id)) {
            entry.activity.cut();
            self.count("unread");
        }
    }

    /// Counts a connection among [`Connections::dropped`].
    fn count(&self, reason: &'static str) {
        self.dropped.get_or_create(&[("reason", reason)]).inc();
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Closes the connection that has been idle longest. False if none is idle.
    fn close_idle(&mut self, among: Among) -> bool {
        let Candidates { among: same, scanned, .. } = self.candidates;
        if same == Some(among) && self.close_candidate() {
            return true;
        }
        let now = Instant::now();
        if same == Some(among) && scanned.is_some_and(|scanned| now - scanned < SCAN_EVERY) {
            return false;
        }
        self.find_candidates(among, now);
        self.close_candidate()
    }

    fn close_candidate(&mut self) -> bool {
        while let Some((since, id)) = self.candidates.idle.pop() {
            let still = |entry: &Entry| entry.activity.idle_since() == Some(since);
            if self.all.get(&id).is_some_and(still) {
                if let Some(entry) = self.remove(id) {
                    entry.activity.close();
                }
                return true;
            }
        }
        false
    }

    fn find_candidates(&mut self, among: Among, now: Instant) {
        let chosen = |entry: &Entry| match among {
            Among::All => !entry.reserved,
            Among::Of(address) => !entry.reserved && entry.address == address,
            Among::Reserved => entry.reserved,
        };
        let entries = self.all.iter().filter(|(_, entry)| chosen(entry));
        let idle = entries.filter_map(|(id, entry)| Some((entry.activity.idle_since()?, *id)));
        let mut idle: Vec<_> = idle.collect();
        if idle.len() > CANDIDATES {
            idle.select_nth_unstable(CANDIDATES);
            idle.truncate(CANDIDATES);
        }
        idle.sort_unstable_by(|a, b| b.cmp(a));
        self.candidates = Candidates { among: Some(among), idle, scanned: Some(now) };
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.all.remove(&id)?;
        if entry.reserved {
            self.reserved -= 1;
        } else if let Some(count) = self.regular.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.regular.remove(&entry.address);
            }
        }
        Some(entry)
    }
}

/// An open connection, counted until this is dropped.
pub(crate) struct OpenConnection {
    connections: Arc<Connections>,
    id: u64,
    pub(crate) activity: Arc<Activity>,
    gauge: Gauge,
}

impl OpenConnection {
    /// Counts that the connection is closed because its client read a response too slowly.
    pub(crate) fn count_unread(&self) {
        self.connections.count("unread");
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.gauge.dec();
        // The entry is gone already if the connection was closed for another.
        drop(self.connections.lock().remove(self.id));
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Version;

    use super::*;
    use crate::net::activity::InFlight;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Enters a connection with a request in flight.
    fn busy(connections: &Arc<Connections>, address: IpAddr) -> (OpenConnection, InFlight) {
        let open = connections.enter(address, &Gauge::default()).unwrap();
        let in_flight = InFlight::begin(&open.activity, Version::HTTP_11);
        (open, in_flight)
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_is_closed_for_a_new_one() {
        let connections = Connections::new(3, 3, ResponseMemory::new(0));
        let gauge = Gauge::default();
        let (first, in_flight) = busy(&connections, address(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = connections.enter(address(2), &gauge).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let third = connections.enter(address(3), &gauge).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(in_flight);
        let fourth = connections.enter(address(4), &gauge).unwrap();
        let closed = [&first, &second, &third, &fourth].map(|open| open.activity.is_closing());
        assert_eq!(closed, [false, true, false, false]);
        let fifth = connections.enter(address(5), &gauge).unwrap();
        assert!(third.activity.is_closing() && !first.activity.is_closing());
        assert!(!fifth.activity.is_reserved());
        drop([first, second, third, fourth, fifth]);
        assert!(connections.lock().all.is_empty() && connections.lock().regular.is_empty());
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test]
    async fn the_reserve_is_used_when_none_is_idle() {
        let connections = Connections::new(2, 2, ResponseMemory::new(0));
        let _busy = [busy(&connections, address(1)), busy(&connections, address(2))];
        let reserved: Vec<_> = (0..RESERVE).map(|_| busy(&connections, address(3))).collect();
        assert!(reserved.iter().all(|(open, _)| open.activity.is_reserved()));
        assert!(connections.enter(address(4), &Gauge::default()).is_none(), "all are busy");
        drop(reserved);
        let next = connections.enter(address(4), &Gauge::default()).unwrap();
        assert!(next.activity.is_reserved());
    }

    #[tokio::test]
    async fn addresses_other_than_loopback_have_a_limit() {
        let connections = Connections::new(4, 2, ResponseMemory::new(0));
        let _of_one = [busy(&connections, address(1)), busy(&connections, address(1))];
        assert!(busy(&connections, address(1)).0.activity.is_reserved());
        let (other, _in_flight) = busy(&connections, "::ffff:10.0.0.2".parse().unwrap());
        assert!(!other.activity.is_reserved());
        let connections = Connections::new(4, 2, ResponseMemory::new(0));
        let loopback: Vec<_> = (0..4).map(|_| busy(&connections, "::1".parse().unwrap())).collect();
        assert!(loopback.iter().all(|(open, _)| !open.activity.is_reserved()));
    }
}
