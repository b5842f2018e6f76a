//! Looks at a database for a person. Changes nothing, and works while servers write.

use std::time::Duration;

use tokio_postgres::{Client, Error as PgError, GenericClient, IsolationLevel};

use super::failure::at_start;
use super::session::{Access, Purpose};
use super::{lineage, rows, schema, snapshot};
use pool::HumanDuration;

use crate::{Clock, Error, SystemClock, wanted};

/// What must never be there: a query that counts it, and how to say it.
const FAULTS: [(&str, &str); 12] = [
    (
        include_str!("sql/audit_overlap.sql"),
        "leases began before an earlier one of their token was over",
    ),
    (include_str!("sql/audit_open.sql"), "leases have no end although their token has a later one"),
    (include_str!("sql/audit_rising.sql"), "leases have a fence not above the one before it"),
    (
        include_str!("sql/audit_chain.sql"),
        "leases don't follow the one that their token had before",
    ),
    (include_str!("sql/audit_fence_twice.sql"), "fences were given more than once"),
    (include_str!("sql/audit_fence_new.sql"), "leases have a fence above the journal's newest"),
    (include_str!("sql/audit_token.sql"), "leases are of no token of their pool"),
    (include_str!("sql/audit_size.sql"), "pools don't have as many tokens as they were made with"),
    (include_str!("sql/audit_time.sql"), "leases began before one with a smaller fence"),
    (include_str!("sql/audit_granted.sql"), "leases were granted for longer than they may last"),
    (include_str!("sql/audit_key.sql"), "idempotency keys lead to no lease"),
    (include_str!("sql/audit_journal.sql"), "journal entries don't follow the one before"),
];

pub(super) async fn audit(access: &Access) -> Result<Vec<String>, Error> {
    let failed = at_start("auditing");
    let mut session = access.session(Purpose::Long).await?;
    schema::check(&session.client).await?;
    let client: &mut Client = &mut session.client;
    let one_moment = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    let transaction = one_moment.read_only(true).start().await.map_err(&failed)?;
    let found = faults(&transaction).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    Ok(found)
}

/// A sentence for each kind of fault that there is.
pub(super) async fn faults(client: &impl GenericClient) -> Result<Vec<String>, PgError> {
    let mut found = Vec::new();
    for (query, sentence) in FAULTS {
        let count: i64 = client.query_one(query, &[]).await?.try_get(0)?;
        if count > 0 {
            found.push(format!("{count} {sentence}"));
        }
    }
    Ok(found)
}

pub(super) async fn describe(access: &Access) -> Result<Vec<(String, String)>, Error> {
    let session = access.session(Purpose::Long).await?;
    let client = &session.client;
    client.batch_execute(include_str!("sql/read_only.sql")).await.map_err(at_start("reading"))?;
    let mut facts = describe_server(client).await.map_err(at_start("describing"))?;
    facts.push(("schema version", schema::version(client).await?.to_string()));
    if schema::check(client).await.is_ok() {
        facts.extend(describe_pool(client).await.map_err(at_start("describing the pool"))?);
    }
    Ok(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

type Facts = Vec<(&'static str, String)>;

async fn describe_server(client: &Client) -> Result<Facts, PgError> {
    let before = SystemClock.now();
    let row = client.query_one(include_str!("sql/describe.sql"), &[]).await?;
    let (there, after) = (rows::moment(&row, 5)?, SystemClock.now());
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    Ok(vec![
        ("database", format!("PostgreSQL {}", row.try_get::<_, &str>(0)?)),
        ("name", row.try_get(1)?),
        ("user", row.try_get(2)?),
        ("size on disk", row.try_get(3)?),
        ("synchronous standby", yes_or_no(row.try_get(4)?)),
        // Its clock was read some time between the two looks at ours.
        ("clock ahead of ours by", HumanDuration(there.since(after)).to_string()),
        ("clock behind ours by", HumanDuration(before.since(there)).to_string()),
    ])
}

async fn describe_pool(client: &Client) -> Result<Facts, PgError> {
    let Some(row) = client.query_opt(include_str!("sql/describe_pool.sql"), &[]).await? else {
        return Ok(vec![("pool", "none yet".to_owned())]);
    };
    let policy = snapshot::pool_row(client).await?.map(|pool| wanted::in_words(pool.policy));
    let (size, lease): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
    let lease = Duration::from_micros(lease.unsigned_abs());
    let (leases, leases_size): (i64, String) = (row.try_get(2)?, row.try_get(3)?);
    let (entries, entries_size): (i64, String) = (row.try_get(4)?, row.try_get(5)?);
    let (mut newest, mut behind) = ("none".to_owned(), Duration::ZERO);
    if let Some(version) = row.try_get::<_, Option<i64>>(6)? {
        let (epoch, recorded): (i64, &str) = (row.try_get(7)?, row.try_get(8)?);
        let timeline = lineage::timeline(recorded);
        newest = format!("{version} (epoch {epoch}, timeline {timeline})");
        behind = rows::moment(&row, 11)?.since(rows::moment(&row, 12)?);
    }
    let (tickets, keys): (i64, i64) = (row.try_get(9)?, row.try_get(10)?);
    Ok(vec![
        ("pool", format!("{size} tokens, leases of {}", HumanDuration(lease))),
        ("policy", policy.unwrap_or_default()),
        ("leases kept", format!("about {leases} ({leases_size})")),
        ("journal entries kept", format!("{entries} ({entries_size})")),
        ("tickets of those who wait", tickets.to_string()),
        ("idempotency keys", keys.to_string()),
        ("newest journal entry", newest),
        ("clock behind newest entry by", HumanDuration(behind).to_string()),
    ])
}
