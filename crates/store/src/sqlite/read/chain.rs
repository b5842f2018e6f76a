//! A token's leases, from one to the one it had before.

use pool::{EndReason, Fence, Lease, TokenId};
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use crate::sqlite::disk::failure::failed;
use crate::sqlite::read::rows;
use crate::{Error, LeaseRecord};

const WHAT: &str = "reading a token's history";

/// A walk along a token's chain of leases, newest first.
pub(crate) struct Chain<'c> {
    token: TokenId,
    /// Fence of the next lease; if that one was deleted for its age, a bound below which to look.
    next: Option<Fence>,
    of_fence: CachedStatement<'c>,
    kept: CachedStatement<'c>,
    newest: CachedStatement<'c>,
}

impl<'c> Chain<'c> {
    /// The whole chain.
    pub(crate) fn whole(connection: &'c Connection, token: TokenId) -> Result<Self, Error> {
        let failed = failed(WHAT);
        let latest = sql!("leases/latest_fence");
        let mut latest = connection.prepare_cached(latest).map_err(&failed)?;
        let latest = latest.query_row((token.0.as_bytes(),), |row| row.get(0).map(Fence::new));
        Ok(Chain {
            token,
            next: latest.optional().map_err(&failed)?,
            of_fence: prepare(connection, sql!("leases/lease_of_fence"))?,
            kept: prepare(connection, sql!("leases/kept_before"))?,
            newest: prepare(connection, sql!("leases/newest_of_token"))?,
        })
    }

    /// The chain from the lease before the one with that fence; the whole chain if this token has
    /// no such lease.
    pub(crate) fn before(
        connection: &'c Connection,
        token: TokenId,
        fence: Fence,
    ) -> Result<Self, Error> {
        let mut chain = Chain::whole(connection, token)?;
        if let Some(lease) = chain.at(fence)? {
            chain.go_on_from(&lease);
        }
        Ok(chain)
    }

    /// The lease before the last one that was returned.
    pub(crate) fn next(&mut self) -> Result<Option<Lease>, Error> {
        let Some(fence) = self.next.take() else { return Ok(None) };
        let mut lease = self.at(fence)?;
        if lease.is_none() {
            lease = match self.kept_before(fence)? {
                Some(kept) => self.at(kept)?,
                None => None,
            };
        }
        if let Some(lease) = &lease {
            self.go_on_from(lease);
        }
        Ok(lease)
    }

    /// Goes to the newest lease below `below` without walking there, unless its fence is below
    /// `lowest`. Returns whether such a lease exists. Examines all tokens' leases in between.
    pub(crate) fn jump(&mut self, below: Fence, lowest: Fence) -> Result<bool, Error> {
        let those = (self.token.0.as_bytes(), below.get(), lowest.get());
        let newest = self.newest.query_row(those, |row| row.get(0).map(Fence::new)).optional();
        self.next = newest.map_err(failed(WHAT))?;
        Ok(self.next.is_some())
    }

    fn kept_before(&mut self, fence: Fence) -> Result<Option<Fence>, Error> {
        let before = (self.token.0.as_bytes(), fence.get());
        let kept = self.kept.query_row(before, |row| row.get::<_, Option<i64>>(0));
        Ok(kept.map_err(failed(WHAT))?.map(Fence::new))
    }

    /// Makes the one before `lease` the next.
    fn go_on_from(&mut self, lease: &Lease) {
        self.next = Some(lease.previous_fence).filter(|fence| *fence != Fence::NONE);
    }

    fn at(&mut self, fence: Fence) -> Result<Option<Lease>, Error> {
        let lease = self.of_fence.query_row((fence.get(),), rows::lease).optional();
        let lease = lease.map_err(failed(WHAT))?;
        Ok(lease.filter(|lease| lease.token_id == self.token))
    }
}

/// Adds the values from other rows.
pub(crate) fn record(connection: &Connection, lease: Lease) -> Result<LeaseRecord, Error> {
    let mut evicted_by = None;
    if lease.end.is_some_and(|end| end.reason == EndReason::Evicted) {
        let mut successor = prepare(connection, sql!("leases/successor"))?;
        let after = (lease.fence.get(), lease.token_id.0.as_bytes());
        let found = successor.query_row(after, |row| rows::uuid(row, 0)).optional();
        evicted_by = found.map_err(failed(WHAT))?.map(pool::LeaseId);
    }
    let mut names = prepare(connection, sql!("tokens/names"))?;
    let names = names.query_row((lease.token_id.0.as_bytes(),), rows::names);
    let (pool_name, token_name) = names.map_err(failed(WHAT))?;
    Ok(LeaseRecord { lease, evicted_by, pool_name, token_name })
}

fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<CachedStatement<'c>, Error> {
    connection.prepare_cached(sql).map_err(failed(WHAT))
}
