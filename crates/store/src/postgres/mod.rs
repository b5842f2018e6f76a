//! PostgreSQL: any number of servers share one ledger, each with one connection for batches, one
//! for deleting old rows, and a few for reading. An advisory lock puts their batches in order.

#[macro_use]
mod sql;

mod admin;
mod columns;
mod connect;
mod read;
mod write;

use crate::epoch;
use crate::postgres::admin::audit;
use crate::postgres::admin::checks;
use crate::postgres::admin::create;
use crate::postgres::admin::schema;
use crate::postgres::connect::locks::LISTENER_LOCK;
use crate::postgres::connect::notifier;
use crate::postgres::read::snapshot;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pool::{Change, PoolId};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub use self::connect::config::Config;
pub use self::connect::session::connect_other;

use crate::postgres::admin::schema::Control;
use crate::postgres::connect::failure::at_start;
use crate::postgres::connect::holders::{self, holders};
use crate::postgres::connect::session::{Access, Purpose};
use crate::postgres::read::reader::PostgresReader;
use crate::postgres::write::housekeeper::PostgresHousekeeper;
use crate::postgres::write::store::Writer;
use crate::{
    Backup, BatchId, Begun, Database, Entry, Error, Finding, ImportedPool, NewEpoch, News,
    Notifier, Opened, Position, ServerId, Snapshot, Store, Wanted, epoch_gap, new_pool, wanted,
};

/// How long to wait for servers that are just stopping.
const TAKEOVER: Duration = Duration::from_secs(2);

/// Position that no journal has, so that `begin` returns the whole ledger.
const NOWHERE: Position = Position { epoch: 0, version: 0, batch: BatchId(Uuid::nil()) };

/// A PostgreSQL database.
pub struct Postgres {
    config: Box<Config>,
}

impl Postgres {
    /// The database that `config` names; nothing is connected yet.
    pub fn new(config: Box<Config>) -> Self {
        Postgres { config }
    }
}

#[async_trait]
impl Database for Postgres {
    async fn migrate(&self) -> Result<Vec<String>, Error> {
        let mut control = Control::take(&Access::new(&self.config)?).await?;
        let applied = control.migrate().await;
        control.release().await;
        applied
    }

    async fn open(&self, wanted: Wanted) -> Result<Opened, Error> {
        let access = Access::new(&self.config)?;
        let mut control = Control::take(&access).await?;
        control.refuse_without_rights().await?;
        control.migrate().await?;
        let failed = at_start("reading the pool");
        if !snapshot::exists(&*control.session.client).await.map_err(&failed)? {
            let now = control.now().await?;
            create::create(&mut control.session, &wanted::new_pool(&wanted, now)?).await?;
        }
        control.release().await;
        let mut writer = Writer::new(access.clone());
        let (begun, mut snapshot) = begin_whole(&mut writer).await?;
        let default = snapshot.ledger.pool(PoolId::DEFAULT).map(wanted::facts);
        let replaced =
            default.map_or(Ok(None), |(size, policy)| wanted::compare(size, policy, &wanted));
        match replaced {
            Ok(Some(policy)) => {
                let gap = begun.new_epoch.then(|| epoch_gap(begun.now.since(snapshot.at)));
                let changes = wanted::change_policy(&snapshot.ledger, policy);
                let entry = owners_entry(&begun, &snapshot, gap, changes);
                writer.commit(&entry).await?;
                (_, snapshot) = begin_whole(&mut writer).await?;
                writer.abandon().await;
            }
            _ => writer.abandon().await,
        }
        replaced?;
        Ok(Opened {
            now: begun.now,
            store: Box::new(writer),
            housekeeper: Box::new(PostgresHousekeeper::new(access.clone())),
            durability: access.watch.durability(),
            notifier: Notifier::carried(|told, heard| notifier::carry(&access, told, heard)),
            reader: Arc::new(PostgresReader::new(access)),
            snapshot,
        })
    }

    async fn import(&self, pool: ImportedPool<'_>) -> Result<(), Error> {
        let mut control = Control::take(&Access::new(&self.config)?).await?;
        control.migrate().await?;
        let imported = create::import(&mut control.session, pool).await;
        control.release().await;
        imported
    }

    async fn audit(&self) -> Result<Vec<String>, Error> {
        audit::audit(&Access::new(&self.config)?).await
    }

    async fn describe(&self) -> Result<Vec<(String, String)>, Error> {
        audit::describe(&Access::new(&self.config)?).await
    }

    async fn check(
        &self,
        wanted: &Wanted,
        allow_clock_behind: bool,
    ) -> Result<Vec<Finding>, Error> {
        checks::check(&Access::new(&self.config)?, wanted, allow_clock_behind).await
    }

    async fn begin_epoch(&self, clock_may_be_behind: bool) -> Result<NewEpoch, Error> {
        let access = Access::new(&self.config)?;
        let before = end_without_servers(&access).await?;
        let mut writer = Writer::new(access);
        let (begun, snapshot) = begin_whole(&mut writer).await?;
        if snapshot.position != before {
            return Err(Error::Operator(
                "another session wrote to the database meanwhile: stop all servers first, then try again"
                    .to_owned(),
            ));
        }
        // Without a commit, dropping the writer releases the lock.
        let new = epoch::new_epoch(&snapshot, begun.now, clock_may_be_behind)?;
        let entry = owners_entry(&begun, &snapshot, Some(new.gap), Vec::new());
        writer.commit(&entry).await?;
        Ok(new)
    }

    async fn backup(&self, _to: &Path, _replace: bool) -> Result<Backup, Error> {
        Err(Error::Operator(
            "PostgreSQL has programs of its own for this: `pg_dump --format=custom \
             --schema=token_manager --file=FILE \"$DATABASE_URL\"` copies the pool while servers \
             use it, pg_basebackup the whole cluster"
                .to_owned(),
        ))
    }
}

/// The end of the journal of a ledger, which must not be in use by a server. Read before the check for
/// servers.
async fn end_without_servers(access: &Access) -> Result<Position, Error> {
    let failed = at_start("reading the pool");
    let client = access.session(Purpose::Long).await?.client;
    schema::check(&client).await?;
    if !snapshot::exists(&*client).await.map_err(&failed)? {
        return Err(Error::Operator("the database holds no ledger".to_owned()));
    }
    let before = snapshot::newest(&*client, &failed).await?.position;
    let mut seen: Option<Instant> = None;
    loop {
        let servers = notifier::listeners(&client).await.map_err(&failed)?;
        let (sessions, up) = notifier::sessions(&client).await.map_err(&failed)?;
        if servers == 0 && sessions == 0 {
            if up > notifier::ALL_ARE_BACK {
                return Ok(before);
            }
        } else if seen.get_or_insert_with(Instant::now).elapsed() > TAKEOVER {
            let who = match servers {
                0 => format!("{sessions} sessions of this program (or that a proxy keeps)"),
                _ => format!("{servers} of its servers"),
            };
            let listening = holders(&client, LISTENER_LOCK).await.map_err(&failed)?;
            let listening = match &*listening {
                [] => String::new(),
                found => format!(". The lock of servers is {}", holders::in_words(found)),
            };
            return Err(Error::Operator(format!(
                "the database is in use by {who}: stop all of them first, since what they grant \
                 may bear fences that were given before{listening}"
            )));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Takes the ledger's lock and reads all of the ledger.
async fn begin_whole(writer: &mut Writer) -> Result<(Begun, Snapshot), Error> {
    let mut begun = writer.begin(&NOWHERE).await?;
    match std::mem::replace(&mut begun.news, News::Entries(Vec::new())) {
        News::Whole(snapshot) => Ok((begun, *snapshot)),
        News::Entries(_) => {
            writer.abandon().await;
            Err(Error::Operator("the journal has an entry without a number".to_owned()))
        }
    }
}

/// The entry for a change by the ledger's owner, outside a server's batches. `new_epoch`: the gap, if
/// the entry begins a new epoch.
fn owners_entry(
    begun: &Begun,
    before: &Snapshot,
    new_epoch: Option<i64>,
    changes: Vec<Change>,
) -> Entry {
    let gap = new_epoch.unwrap_or(0);
    let Position { epoch, version, .. } = before.position;
    let at = begun.now.max(before.at);
    // As in every batch: this entry, too, ends the time without any.
    let forgiven = before.ledger.forgive_silence(at, before.at);
    Entry {
        position: Position {
            epoch: epoch + i64::from(new_epoch.is_some()),
            version: version + 1 + gap,
            batch: new_pool::batch_id(),
        },
        server: ServerId(Uuid::nil()),
        at,
        fence: before.ledger.fence().plus(gap),
        changes: forgiven.into_iter().chain(changes).collect(),
        keys: Vec::new(),
    }
}
