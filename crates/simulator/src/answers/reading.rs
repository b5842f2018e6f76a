//! Reads of the whole ledger.

use pool::{ApiKeyId, Lease, LeaseId, Token};

use super::{Shown, first_state};
use crate::facts::Request;
use crate::model::{Check, ensure};
use crate::world::World;

/// Checks a read: it shows one version, and none before those that were shown.
pub(super) fn read(world: &mut World, request: &Request, shown: &Shown) -> Check {
    if request.timeline != world.timeline {
        return Ok(());
    }
    let Shown { epoch, version, now, .. } = *shown;
    ensure!(version >= request.shown, "read: version {version} after {}", request.shown);
    ensure!(
        world.facts.stepped || request.shown_at.is_none_or(|before| now >= before),
        "read: at {now:?}, after a read at {:?}",
        request.shown_at
    );
    let is_it = |stored: &&crate::tables::Stored| {
        (stored.entry.position.epoch, stored.entry.position.version) == (epoch, version)
    };
    let Some(stored) = world.journal.iter().rev().find(is_it) else {
        return Err(format!("read: version {version} does not exist"));
    };
    let tables = stored.after.clone();
    let oldest = world.journal[first_state(world, request)].entry.position.version;
    ensure!(
        version >= oldest,
        "read: version {version} is older than {oldest}, before the request"
    );
    let tokens: Vec<(Token, Option<Lease>)> = tables
        .pools
        .keys()
        .flat_map(|pool| {
            let mut tokens: Vec<_> = tables.tokens_of(*pool).collect();
            tokens.sort_by_key(|token| token.position);
            tokens
                .into_iter()
                .map(|token| (token.clone(), tables.latest_of(token.id).cloned()))
                .collect::<Vec<_>>()
        })
        .collect();
    for (row, seen) in tokens.iter().zip(&shown.tokens) {
        ensure!(row == seen, "read: {seen:?} is {row:?} in version {version}");
    }
    ensure!(tokens.len() == shown.tokens.len(), "read: other tokens in version {version}");
    let queue: Vec<LeaseId> = tables
        .pools
        .keys()
        .flat_map(|pool| tables.queue(*pool))
        .map(|ticket| ticket.lease_id)
        .collect();
    ensure!(
        queue == shown.queue,
        "read: {:?} is not the queue of version {version}: {queue:?}",
        shown.queue
    );
    let mut keys: Vec<ApiKeyId> =
        tables.api_keys.values().filter(|key| key.revoked_at.is_none()).map(|key| key.id).collect();
    keys.sort();
    ensure!(
        keys == shown.keys && tables.pools.keys().copied().eq(shown.pools.iter().copied()),
        "read: other API keys or pools in version {version}"
    );
    if !world.facts.stepped {
        let over = tokens.iter().filter_map(|(_, lease)| lease.as_ref());
        let over = over
            .filter(|lease| lease.end.is_none() && lease.expires_at <= now)
            .map(|lease| lease.id);
        world.facts.seen_expired.extend(over);
    }
    world.facts.shown = world.facts.shown.max(version);
    world.facts.shown_at = world.facts.shown_at.max(Some(now));
    Ok(())
}
