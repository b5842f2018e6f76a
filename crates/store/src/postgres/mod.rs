//! PostgreSQL: any number of servers share one pool, each with a connection that writes and a few
//! that read. An advisory lock puts their batches in order.

mod audit;
mod config;
mod create;
mod failure;
mod forgetting;
mod hints;
mod news;
mod parameters;
mod reader;
mod remembered;
mod rows;
mod schema;
mod search;
mod session;
mod snapshot;
mod statements;
mod writer;
mod writing;

use std::sync::Arc;

use async_trait::async_trait;
use pool::Change;
use uuid::Uuid;

pub use config::Config;

use self::failure::at_start;
use self::reader::PostgresReader;
use self::schema::Control;
use self::session::Access;
use self::writer::Writer;
use crate::{
    BatchId, Begun, Database, EPOCH_GAP, Entry, Error, Hints, ImportedPool, News, Opened, Position,
    ServerId, Snapshot, Store, Wanted, creation, wanted,
};

/// The first half of the keys of the locks on pools; the second half is the pool's id.
const POOL_LOCKS: i32 = 0x746f_6b65;

/// The key of the lock on the schema.
const MIGRATION_LOCK: (i32, i32) = (0x746f_6b6d, 0);

/// A place that no journal has, so that whoever begins from here is given the whole pool.
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
        control.migrate().await?;
        let failed = at_start("reading the pool");
        let found = snapshot::pool_row(&*control.session.client).await.map_err(&failed)?;
        let pool = if let Some(row) = found {
            row.id
        } else {
            let now = control.now().await?;
            create::create(&mut control.session, &wanted::new_pool(&wanted, now)?).await?
        };
        control.release().await;
        let mut writer = Writer::new(access.clone(), pool);
        let (begun, mut snapshot) = begin_whole(&mut writer).await?;
        let replaced = wanted::compare(snapshot.pool.size(), snapshot.pool.policy(), &wanted);
        match replaced {
            Ok(Some(policy)) => {
                let entry = owners_entry(&begun, &snapshot, Change::PolicyChanged(policy));
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
            hints: Hints::carried(|told, heard| hints::carry(&access, pool, told, heard)),
            reader: Arc::new(PostgresReader::new(access, pool)),
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
}

/// Takes the pool's lock and reads all of the pool.
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

/// The entry for a change that the pool's owner made, and no server's batch.
fn owners_entry(begun: &Begun, before: &Snapshot, change: Change) -> Entry {
    let gap = if begun.new_epoch { EPOCH_GAP } else { 0 };
    let Position { epoch, version, .. } = before.position;
    Entry {
        position: Position {
            epoch: epoch + i64::from(begun.new_epoch),
            version: version + 1 + gap,
            batch: creation::batch_id(),
        },
        server: ServerId(Uuid::nil()),
        at: begun.now.max(before.at),
        fence: before.pool.fence().plus(gap),
        changes: vec![change],
        keys: Vec::new(),
    }
}
