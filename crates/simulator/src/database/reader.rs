//! The reading side, and the deletion of old rows.

use std::time::Duration;

use async_trait::async_trait;
use pool::{ApiKeyId, Fence, Lease, LeaseId, PoolId, PoolName, Timestamp, TokenId, TokenName};
use store::{
    AuditEntry, AuditQuery, Entry, Error, Housekeeper, LeasePage, LeaseQuery, LeaseRecord, News,
    Position, Reader, Swept,
};
use tokio::time::{Instant, sleep};

use super::again;
use crate::tables::Tables;
use crate::world::{Shared, World, delay, lock, resumed};

/// How long a read waits for the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// The reading side of a server.
pub struct Reading {
    pub world: Shared,
    pub server: u8,
    pub is_shared: bool,
}

impl Reading {
    /// The result of `look`, after the way there and back.
    async fn read<T>(&self, look: impl FnOnce(&mut World) -> T) -> Result<T, Error> {
        delay(&self.world, 3).await;
        if lock(&self.world).is_cut(self.server) {
            return Err(again("reading"));
        }
        let found = look(&mut lock(&self.world));
        delay(&self.world, 3).await;
        if lock(&self.world).is_cut(self.server) {
            return Err(again("reading"));
        }
        resumed(&self.world, self.server).await;
        Ok(found)
    }
}

fn recorded(tables: &Tables, lease: &Lease) -> Option<LeaseRecord> {
    let evicted_by = tables.evicted.iter().find(|(_, of)| **of == lease.id).map(|(by, _)| *by);
    Some(LeaseRecord {
        lease: lease.clone(),
        pool_name: tables.names.get(&lease.pool)?.clone(),
        token_name: tables.tokens.get(&lease.token_id)?.name.clone(),
        evicted_by,
    })
}

#[async_trait]
impl Reader for Reading {
    fn shared(&self) -> bool {
        self.is_shared
    }

    async fn news(&self, known: &Position) -> Result<(Timestamp, News), Error> {
        self.read(|world| (world.clock(), world.news(known))).await
    }

    async fn settled_news(&self, known: &Position) -> Result<(Timestamp, News), Error> {
        delay(&self.world, 3).await;
        let give_up_at = Instant::now() + LOCK_TIMEOUT;
        while lock(&self.world).lock.is_some() {
            if Instant::now() > give_up_at {
                return Err(again("a batch is in flight"));
            }
            sleep(Duration::from_millis(2)).await;
        }
        let settled = {
            let mut world = lock(&self.world);
            (world.clock(), world.news(known))
        };
        delay(&self.world, 3).await;
        resumed(&self.world, self.server).await;
        if lock(&self.world).is_cut(self.server) { Err(again("reading")) } else { Ok(settled) }
    }

    fn now(&self) -> Option<Timestamp> {
        (!self.is_shared).then(|| lock(&self.world).clock())
    }

    fn version_read(&self) -> Option<i64> {
        (!self.is_shared).then(|| lock(&self.world).newest().entry.position.version)
    }

    async fn history(
        &self,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Vec<LeaseRecord>, Error> {
        let all = |world: &mut World| {
            let tables = &world.newest().after;
            let leases = tables.leases.values().filter(|lease| lease.token_id == token);
            let mut leases: Vec<_> =
                leases.filter(|lease| before.is_none_or(|before| lease.fence < before)).collect();
            leases.sort_by_key(|lease| std::cmp::Reverse(lease.fence));
            leases.into_iter().take(limit).filter_map(|lease| recorded(tables, lease)).collect()
        };
        self.read(all).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        self.read(|world| {
            let tables = &world.newest().after;
            tables.leases.get(&id).and_then(|lease| recorded(tables, lease))
        })
        .await
    }

    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, Error> {
        let find = |world: &mut World| {
            let tables = &world.newest().after;
            ids.iter().filter_map(|id| tables.leases.get(id).cloned()).collect()
        };
        self.read(find).await
    }

    async fn pool_named(&self, _: &str) -> Result<Option<PoolId>, Error> {
        Ok(None)
    }

    async fn token_named(&self, _: PoolId, _: &str) -> Result<Option<TokenId>, Error> {
        Ok(None)
    }

    async fn pool_names(&self, _: &[PoolId]) -> Result<Vec<(PoolId, PoolName)>, Error> {
        Ok(Vec::new())
    }

    async fn token_names(&self, _: &[TokenId]) -> Result<Vec<(TokenId, PoolId, TokenName)>, Error> {
        Ok(Vec::new())
    }

    async fn search(&self, _: &LeaseQuery, _: Timestamp, _: usize) -> Result<LeasePage, Error> {
        Err(again("searching"))
    }

    async fn audit(&self, _: &AuditQuery, _: usize) -> Result<Vec<AuditEntry>, Error> {
        Ok(Vec::new())
    }

    async fn key_uses(&self, _: &[ApiKeyId]) -> Result<Vec<(ApiKeyId, Timestamp)>, Error> {
        Ok(Vec::new())
    }

    async fn journal(&self, _: i64, _: i64, _: usize) -> Result<Option<Vec<Entry>>, Error> {
        Ok(None)
    }
}

/// Deletes old entries of the journal; other rows stay, since a run is short.
pub struct Housekeeping(pub Shared, pub u8);

#[async_trait]
impl Housekeeper for Housekeeping {
    async fn prune(&mut self, _: Timestamp, keep: i64) -> Result<u64, Error> {
        let mut world = lock(&self.0);
        if world.is_cut(self.1) {
            return Err(again("deleting"));
        }
        world.prune(usize::try_from(keep).unwrap_or(usize::MAX));
        Ok(0)
    }

    async fn forget_keys(&mut self, _: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }

    async fn forget_keys_early(&mut self, _: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }

    async fn key_count(&mut self) -> Result<u64, Error> {
        Ok(0)
    }

    async fn forget_leases(&mut self, _: Timestamp, _: Fence) -> Result<Swept, Error> {
        Ok(Swept { deleted: 0, up_to: None })
    }

    async fn forget_acts(&mut self, _: i64) -> Result<u64, Error> {
        Ok(0)
    }

    async fn forget_sessions(&mut self, _: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }

    async fn note_key_uses(&mut self, _: &[(ApiKeyId, Timestamp)]) -> Result<(), Error> {
        Ok(())
    }
}

impl World {
    /// Deletes all but the newest entries from the journal.
    pub(crate) fn prune(&mut self, keep: usize) {
        self.pruned = self.pruned.max(self.journal.len().saturating_sub(keep.max(1)));
    }
}
