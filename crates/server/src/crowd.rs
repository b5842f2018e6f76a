//! The open connections, and who has to go where they are too many.
//!
//! At a limit, the connection that has been idle longest makes room for a new one. Where none is
//! idle, a small reserve takes new connections, but only health and metrics are answered there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::connection::Activity;
use crate::metrics::{Counters, counters};

/// Number of connections beyond the limit, for health and metrics.
pub(crate) const RESERVE: usize = 32;

/// Number of idle connections that one look through all of them finds.
const CANDIDATES: usize = 64;

/// How soon to look for idle connections again.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often the log says that the limit is reached.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How often a connection with untaken answers is looked for.
const CUT_EVERY: Duration = Duration::from_millis(20);

/// How long an answer must be left untaken before its connection may have to go for it.
const NEGLECTED: Duration = Duration::from_secs(2);

/// All connections of a server.
pub(crate) struct Crowd {
    limit: usize,
    /// For each client address, except loopback.
    per_address: usize,
    /// Memory for answers of all of them.
    budget: Arc<Budget>,
    members: Mutex<Members>,
    /// Connections that were closed or refused for the sake of others, by reason.
    pub(crate) dropped: Counters,
}

#[derive(Default)]
struct Members {
    next: u64,
    all: HashMap<u64, Member>,
    /// Those of [`Members::all`] that are not in the reserve.
    regular: HashMap<IpAddr, usize>,
    reserved: usize,
    candidates: Candidates,
    logged: Option<Instant>,
    cut: Option<Instant>,
}

struct Member {
    activity: Arc<Activity>,
    address: IpAddr,
    reserved: bool,
}

/// Connections that were idle at the last look, those that were idle longest at the end.
#[derive(Default)]
struct Candidates {
    among: Option<Among>,
    idle: Vec<(Instant, u64)>,
    looked: Option<Instant>,
}

/// Which connections may have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    All,
    Of(IpAddr),
    Reserved,
}

/// What became of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Free,
    /// For an idle one that was closed.
    Instead,
    Reserved,
    Refused,
}

impl Crowd {
    pub(crate) fn new(limit: usize, per_address: usize, budget: Arc<Budget>) -> Arc<Self> {
        let dropped = counters("reason", ["idle", "refused", "reserved", "untaken"]);
        Arc::new(Crowd { limit, per_address, budget, members: Mutex::default(), dropped })
    }

    /// Takes in a connection from this address; None where there is no room for it at all. `open`
    /// counts those of its listener.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, open: &Gauge) -> Option<Open> {
        let address = address.to_canonical();
        let mut members = self.lock();
        let entry = self.room(&mut members, address);
        match entry {
            Entry::Free => {}
            Entry::Instead => self.count("idle"),
            Entry::Reserved => self.count("reserved"),
            Entry::Refused => self.count("refused"),
        }
        if entry != Entry::Free {
            self.log(&mut members, address);
        }
        if entry == Entry::Refused {
            return None;
        }
        let reserved = entry == Entry::Reserved;
        let activity = Arc::new(Activity::new(Arc::clone(&self.budget), reserved));
        let id = members.next;
        members.next += 1;
        let member = Member { activity: Arc::clone(&activity), address, reserved };
        members.all.insert(id, member);
        if reserved {
            members.reserved += 1;
        } else {
            *members.regular.entry(address).or_default() += 1;
        }
        drop(members);
        open.inc();
        Some(Open { crowd: Arc::clone(self), id, activity, gauge: open.clone() })
    }

    fn room(&self, members: &mut Members, address: IpAddr) -> Entry {
        let regular = members.all.len() - members.reserved;
        let of_address = members.regular.get(&address).copied().unwrap_or(0);
        let among = if !address.is_loopback() && of_address >= self.per_address {
            Among::Of(address)
        } else if regular >= self.limit {
            Among::All
        } else {
            return Entry::Free;
        };
        if members.close_idle(among) {
            return Entry::Instead;
        }
        if members.reserved < RESERVE || members.close_idle(Among::Reserved) {
            return Entry::Reserved;
        }
        Entry::Refused
    }

    fn log(&self, members: &mut Members, address: IpAddr) {
        let now = Instant::now();
        if members.logged.is_some_and(|logged| now - logged < LOG_EVERY) {
            return;
        }
        members.logged = Some(now);
        tracing::warn!(
            open = members.all.len(),
            limit = self.limit,
            limit_per_address = self.per_address,
            %address,
            of_address = members.regular.get(&address).copied().unwrap_or(0),
            "connection limit reached; closing the longest idle, or serving only health and metrics"
        );
    }

    /// Closes the connection that has left an answer untaken longest, if that is long enough, to free
    /// its memory. Only now and then, since it looks at all.
    pub(crate) fn cut_most_neglectful(&self) {
        let mut members = self.lock();
        let now = Instant::now();
        if members.cut.is_some_and(|cut| now - cut < CUT_EVERY) {
            return;
        }
        members.cut = Some(now);
        let untaken = members
            .all
            .iter()
            .filter_map(|(id, member)| Some((member.activity.untaken_since()?, *id)));
        let most = untaken.min().filter(|(since, _)| now - *since >= NEGLECTED);
        if let Some(member) = most.and_then(|(_, id)| members.remove(id)) {
            member.activity.cut();
            self.count("untaken");
        }
    }

    /// Counts a connection that was closed or refused.
    pub(crate) fn count(&self, reason: &'static str) {
        self.dropped.get_or_create(&[("reason", reason)]).inc();
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Closes the one that has been idle longest. False where none is idle.
    fn close_idle(&mut self, among: Among) -> bool {
        let Candidates { among: same, looked, .. } = self.candidates;
        if same == Some(among) && self.close_candidate() {
            return true;
        }
        let now = Instant::now();
        if same == Some(among) && looked.is_some_and(|looked| now - looked < LOOK_EVERY) {
            return false;
        }
        self.look_for_candidates(among, now);
        self.close_candidate()
    }

    fn close_candidate(&mut self) -> bool {
        while let Some((since, id)) = self.candidates.idle.pop() {
            let still = |member: &Member| member.activity.idle_since() == Some(since);
            if self.all.get(&id).is_some_and(still) {
                if let Some(member) = self.remove(id) {
                    member.activity.close();
                }
                return true;
            }
        }
        false
    }

    fn look_for_candidates(&mut self, among: Among, now: Instant) {
        let chosen = |member: &Member| match among {
            Among::All => !member.reserved,
            Among::Of(address) => !member.reserved && member.address == address,
            Among::Reserved => member.reserved,
        };
        let members = self.all.iter().filter(|(_, member)| chosen(member));
        let idle = members.filter_map(|(id, member)| Some((member.activity.idle_since()?, *id)));
        let mut idle: Vec<_> = idle.collect();
        if idle.len() > CANDIDATES {
            idle.select_nth_unstable(CANDIDATES);
            idle.truncate(CANDIDATES);
        }
        idle.sort_unstable_by(|a, b| b.cmp(a));
        self.candidates = Candidates { among: Some(among), idle, looked: Some(now) };
    }

    fn remove(&mut self, id: u64) -> Option<Member> {
        let member = self.all.remove(&id)?;
        if member.reserved {
            self.reserved -= 1;
        } else if let Some(count) = self.regular.get_mut(&member.address) {
            *count -= 1;
            if *count == 0 {
                self.regular.remove(&member.address);
            }
        }
        Some(member)
    }
}

/// A connection that is open and counted, until this is dropped.
pub(crate) struct Open {
    crowd: Arc<Crowd>,
    id: u64,
    pub(crate) activity: Arc<Activity>,
    gauge: Gauge,
}

impl Open {
    /// Counts that this connection is closed since its client took an answer too slowly.
    pub(crate) fn neglected(&self) {
        self.crowd.count("untaken");
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
        // It may be there no more, if it had to make room.
        drop(self.crowd.lock().remove(self.id));
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Version;

    use super::*;
    use crate::connection::UnderWay;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Enters, and has begun a request.
    fn busy(crowd: &Arc<Crowd>, address: IpAddr) -> (Open, UnderWay) {
        let open = crowd.enter(address, &Gauge::default()).unwrap();
        let under_way = UnderWay::begin(&open.activity, Version::HTTP_11);
        (open, under_way)
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_makes_room() {
        let crowd = Crowd::new(3, 3, Budget::new(0));
        let gauge = Gauge::default();
        let (first, under_way) = busy(&crowd, address(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = crowd.enter(address(2), &gauge).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let third = crowd.enter(address(3), &gauge).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(under_way);
        let fourth = crowd.enter(address(4), &gauge).unwrap();
        let closed = [&first, &second, &third, &fourth].map(|open| open.activity.is_closing());
        assert_eq!(closed, [false, true, false, false]);
        let fifth = crowd.enter(address(5), &gauge).unwrap();
        assert!(third.activity.is_closing() && !first.activity.is_closing());
        assert!(!fifth.activity.is_reserved());
        drop([first, second, third, fourth, fifth]);
        assert!(crowd.lock().all.is_empty() && crowd.lock().regular.is_empty());
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test]
    async fn where_none_is_idle_there_is_a_reserve() {
        let crowd = Crowd::new(2, 2, Budget::new(0));
        let _busy = [busy(&crowd, address(1)), busy(&crowd, address(2))];
        let reserved: Vec<_> = (0..RESERVE).map(|_| busy(&crowd, address(3))).collect();
        assert!(reserved.iter().all(|(open, _)| open.activity.is_reserved()));
        assert!(crowd.enter(address(4), &Gauge::default()).is_none(), "all are busy");
        drop(reserved);
        assert!(crowd.enter(address(4), &Gauge::default()).unwrap().activity.is_reserved());
    }

    #[tokio::test]
    async fn an_address_has_its_share_unless_it_is_loopback() {
        let crowd = Crowd::new(4, 2, Budget::new(0));
        let _of_one = [busy(&crowd, address(1)), busy(&crowd, address(1))];
        assert!(busy(&crowd, address(1)).0.activity.is_reserved());
        let (other, _under_way) = busy(&crowd, "::ffff:10.0.0.2".parse().unwrap());
        assert!(!other.activity.is_reserved());
        let crowd = Crowd::new(4, 2, Budget::new(0));
        let of_loopback: Vec<_> = (0..4).map(|_| busy(&crowd, "::1".parse().unwrap())).collect();
        assert!(of_loopback.iter().all(|(open, _)| !open.activity.is_reserved()));
    }
}
