//! Examines a database for an operator. Changes nothing, and works while servers write.

use std::time::Duration;

use tokio_postgres::{Client, Error as PgError, GenericClient, IsolationLevel};

use crate::postgres::admin::schema;
use crate::postgres::connect::failure::at_start;
use crate::postgres::connect::lineage;
use crate::postgres::connect::session::{Access, Purpose};
use crate::postgres::read::rows;
use crate::postgres::read::snapshot;
use pool::HumanDuration;

use crate::wanted::all_pools;
use crate::{Clock, Error, SystemClock, wanted};

/// A kind of fault: the query that counts it, and its description.
fn faults_to_count() -> [(&'static str, &'static str); 17] {
    [
        (sql!("audit/audit_overlap"), "leases began before an earlier one of their token was over"),
        (sql!("audit/audit_open"), "leases have no end although their token has a later one"),
        (sql!("audit/audit_rising"), "leases have a fence not above the one before it"),
        (sql!("audit/audit_chain"), "leases don't follow the one that their token had before"),
        (sql!("audit/audit_fence_twice"), "fences were given more than once"),
        (sql!("audit/audit_fence_new"), "leases have a fence above the journal's newest"),
        (sql!("audit/audit_token"), "leases are of no token of their pool"),
        (sql!("audit/audit_pools"), "leases are missing from the index of pools"),
        (
            sql!("audit/audit_retiring"),
            "retired tokens have a running lease that no start would find",
        ),
        (
            sql!("audit/audit_names"),
            "names are those of several pools or API keys, or tokens of a pool",
        ),
        (sql!("audit/audit_deleted"), "leases or tickets are of deleted pools"),
        (sql!("audit/audit_longest"), "leases are longer than any pool ever allowed"),
        (sql!("audit/audit_time"), "leases began before one with a smaller fence"),
        (sql!("audit/audit_granted"), "leases were granted for longer than they may last"),
        (sql!("audit/audit_key"), "idempotency keys lead to no lease"),
        (sql!("audit/audit_access"), "sessions are of revoked API keys, or leases of unknown ones"),
        (sql!("audit/audit_journal"), "journal entries don't follow the one before"),
    ]
}

pub(crate) async fn audit(access: &Access) -> Result<Vec<String>, Error> {
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

/// A sentence for each kind of fault found.
pub(crate) async fn faults(client: &impl GenericClient) -> Result<Vec<String>, PgError> {
    let mut found = Vec::new();
    for (query, sentence) in faults_to_count() {
        let count: i64 = client.query_one(query, &[]).await?.try_get(0)?;
        if count > 0 {
            found.push(format!("{count} {sentence}"));
        }
    }
    Ok(found)
}

pub(crate) async fn describe(access: &Access) -> Result<Vec<(String, String)>, Error> {
    let session = access.session(Purpose::Long).await?;
    let client = &session.client;
    client.batch_execute(sql!("session/read_only")).await.map_err(at_start("reading"))?;
    let mut facts = describe_server(client).await.map_err(at_start("describing"))?;
    facts.push(("schema version", schema::version(client).await?.to_string()));
    if schema::check(client).await.is_ok() {
        facts.extend(describe_pool(client).await.map_err(at_start("describing the ledger"))?);
    }
    Ok(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

type Facts = Vec<(&'static str, String)>;

async fn describe_server(client: &Client) -> Result<Facts, PgError> {
    let before = SystemClock.now();
    let row = client.query_one(sql!("session/describe"), &[]).await?;
    let (there, after) = (rows::moment(&row, 5)?, SystemClock.now());
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    Ok(vec![
        ("database", format!("PostgreSQL {}", row.try_get::<_, &str>(0)?)),
        ("name", row.try_get(1)?),
        ("user", row.try_get(2)?),
        ("size on disk", row.try_get(3)?),
        ("synchronous standby", yes_or_no(row.try_get(4)?)),
        // Its clock was read between the two readings of ours.
        ("clock ahead of ours by", HumanDuration(there.since(after)).to_string()),
        ("clock behind ours by", HumanDuration(before.since(there)).to_string()),
    ])
}

async fn describe_pool(client: &Client) -> Result<Facts, PgError> {
    let Some((size, policy)) = snapshot::pool(client).await? else {
        return Ok(vec![("pools", "none yet".to_owned())]);
    };
    let row = client.query_one(sql!("session/describe_ledger"), &[]).await?;
    let (leases, leases_size): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    let (entries, entries_size): (i64, String) = (row.try_get(2)?, row.try_get(3)?);
    let (mut newest, mut behind) = ("none".to_owned(), Duration::ZERO);
    if let Some(version) = row.try_get::<_, Option<i64>>(4)? {
        let (epoch, recorded): (i64, &str) = (row.try_get(5)?, row.try_get(6)?);
        let timeline = lineage::timeline(recorded);
        newest = format!("{version} (epoch {epoch}, timeline {timeline})");
        behind = rows::moment(&row, 9)?.since(rows::moment(&row, 10)?);
    }
    let (tickets, keys): (i64, i64) = (row.try_get(7)?, row.try_get(8)?);
    let pools: (i64, i64) = (row.try_get(11)?, row.try_get(12)?);
    let facts = [
        all_pools(pools),
        ("pool default", format!("{size} tokens, leases of {}", HumanDuration(policy.lease))),
        ("policy of default", wanted::in_words(policy)),
        ("leases kept", format!("about {leases} ({leases_size})")),
        ("journal entries kept", format!("{entries} ({entries_size})")),
        ("tickets in the queue", tickets.to_string()),
        ("idempotency keys", keys.to_string()),
        ("newest journal entry", newest),
        ("clock behind newest entry by", HumanDuration(behind).to_string()),
    ];
    Ok(facts.into())
}
