//! The original's database, read in one snapshot.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use pool::{
    Fence, Labels, Lease, PoolId, Taints, Timestamp, Token, TokenId, TokenName, TokenValue,
};
use store::{DatabaseUrl, Error, LeaseSource, MAX_POOL_SIZE, connect_other};
use tokio_postgres::{Client, IsolationLevel, Portal, Row, Transaction};
use uuid::Uuid;

use super::usage::{Tally, Usage};
use crate::settings::mask;

/// Number of history rows in memory.
const PART: i32 = 2_000;

/// A connection to an original database.
pub struct Source(Client);

impl Source {
    /// Connects to `ecto://..` or `postgres://..`, as to the database of a ledger.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let known = ["ecto://", "postgres://", "postgresql://"];
        let Some(rest) = known.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            bail!(
                "expected the original's database as ecto://USER:PASSWORD@HOST/NAME or postgres://.."
            );
        };
        let shown = mask::url(url);
        let url: DatabaseUrl = format!("postgres://{rest}").parse().with_context(|| {
            format!(
                "invalid database URL {shown}: percent-encode special characters in the password (@ is \
                 %40), and use only PostgreSQL's own parameters after the question mark"
            )
        })?;
        let client = connect_other(&url)
            .await
            .with_context(|| format!("can't reach the original database {shown}"))?;
        Ok(Source(client))
    }

    /// Begins a transaction in which all queries see the same moment.
    pub async fn snapshot(&mut self) -> anyhow::Result<Snapshot<'_>> {
        let transaction = self.0.build_transaction();
        let transaction =
            transaction.isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
        Ok(Snapshot(transaction.await?))
    }
}

/// A snapshot of an original database.
pub struct Snapshot<'a>(Transaction<'a>);

/// The moment of a snapshot.
pub struct Moment {
    /// By the original database's clock.
    pub now: Timestamp,
    /// When the newest usage started.
    pub last_start: Timestamp,
}

impl Snapshot<'_> {
    /// The tokens, in their order.
    pub async fn tokens(&self) -> anyhow::Result<Vec<Token>> {
        let rows = self.0.query(include_str!("sql/tokens.sql"), &[]).await.context(NOT_ORIGINAL)?;
        if rows.is_empty() {
            bail!("the original database has no tokens to import");
        }
        if rows.len() > MAX_POOL_SIZE {
            bail!(
                "the original has {} tokens; the maximum of a pool is {MAX_POOL_SIZE}",
                rows.len()
            );
        }
        let mut values = HashSet::new();
        (0..).zip(&rows).map(|(position, row)| token(position, row, &mut values)).collect()
    }

    /// The snapshot's moment.
    pub async fn moment(&self) -> anyhow::Result<Moment> {
        let row =
            self.0.query_one(include_str!("sql/moment.sql"), &[]).await.context(NOT_ORIGINAL)?;
        let last_start = row.try_get::<_, Option<i64>>(1)?.map(Timestamp::from_micros);
        let now = Timestamp::from_micros(row.try_get(0)?);
        Ok(Moment { now, last_start: last_start.unwrap_or(now) })
    }
}

const NOT_ORIGINAL: &str = "not a database of an original TokenManager (tables `tokens` and \
                            `token_usages`)";

/// Messages name tokens by id: their values are secrets.
fn token(position: u32, row: &Row, values: &mut HashSet<Uuid>) -> anyhow::Result<Token> {
    let id: String = row.try_get(0)?;
    let value: Option<String> = row.try_get(1)?;
    let Some(value) = value.and_then(|value| Uuid::try_parse(&value).ok()) else {
        bail!("the value of the token {id} is not a UUID; nothing was imported");
    };
    if !values.insert(value) {
        bail!("the value of the token {id} occurs twice; nothing was imported");
    }
    let id = Uuid::try_parse(&id)
        .map_err(|_| anyhow!("the token's id `{id}` is not a UUID; nothing was imported"))?;
    let inserted_at = Timestamp::from_micros(row.try_get(2)?);
    Ok(Token {
        id: TokenId(id),
        pool: PoolId::DEFAULT,
        position,
        name: TokenName::of_position(position),
        value: TokenValue::of_uuid(value),
        labels: Labels::default(),
        taints: Taints::default(),
        inserted_at,
        retired_at: None,
    })
}

/// The history of an original, as leases.
pub struct Usages<'a> {
    snapshot: &'a Snapshot<'a>,
    portal: Portal,
    tokens: HashSet<Uuid>,
    length: Duration,
    now: Timestamp,
    /// Counts of the usages read.
    pub tally: Tally,
}

impl<'a> Usages<'a> {
    /// Begins to read the history of `tokens`. `length` is the length of their leases.
    pub async fn open(
        snapshot: &'a Snapshot<'a>,
        tokens: &[Token],
        length: Duration,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let portal = snapshot.0.bind(include_str!("sql/usages.sql"), &[]).await;
        let portal = portal.context(NOT_ORIGINAL)?;
        let tokens = tokens.iter().map(|token| token.id.0).collect();
        Ok(Usages { snapshot, portal, tokens, length, now, tally: Tally::default() })
    }

    fn lease(&mut self, row: &Row) -> Result<Lease, Error> {
        let usage = usage(row).map_err(|why| refused(&why))?;
        if !self.tokens.contains(&usage.token_id) {
            let why = "belongs to an unknown token; nothing was imported";
            return Err(refused(&anyhow!("the usage {} {why}", usage.id)));
        }
        Ok(usage.into_lease(self.length, self.now, &mut self.tally))
    }
}

#[async_trait]
impl LeaseSource for Usages<'_> {
    async fn next(&mut self) -> Result<Vec<Lease>, Error> {
        let rows = self.snapshot.0.query_portal(&self.portal, PART).await.map_err(|error| {
            Error::TryAgain { what: "reading the original's history", cause: error.into() }
        })?;
        rows.iter().map(|row| self.lease(row)).collect()
    }
}

fn refused(why: &anyhow::Error) -> Error {
    Error::Operator(format!("{why:#}"))
}

fn usage(row: &Row) -> anyhow::Result<Usage> {
    let id: String = row.try_get(0)?;
    let text = |column: usize, name: &str| -> anyhow::Result<Uuid> {
        let text: Option<String> = row.try_get(column)?;
        text.and_then(|text| Uuid::try_parse(&text).ok()).with_context(|| {
            format!("the {name} of the usage {id} is not a UUID; nothing was imported")
        })
    };
    let micros = |column: usize| -> anyhow::Result<Option<Timestamp>> {
        Ok(row.try_get::<_, Option<i64>>(column)?.map(Timestamp::from_micros))
    };
    let started_at =
        micros(3)?.with_context(|| format!("the usage {id} has no start; nothing was imported"))?;
    Ok(Usage {
        id: text(0, "id")?,
        token_id: text(1, "token_id")?,
        user_id: text(2, "user_id")?,
        started_at,
        ended_at: micros(4)?,
        next_started_at: micros(5)?,
        fence: Fence::new(row.try_get(6)?),
        previous_fence: Fence::new(row.try_get(7)?),
        token_active: row.try_get::<_, Option<String>>(8)?.as_deref() == Some("active"),
    })
}
