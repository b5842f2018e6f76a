//! The original's database, read in one snapshot.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use pool::{Fence, Lease, Timestamp, Token, TokenId, TokenValue};
use store::{Error, LeaseSource, MAX_POOL_SIZE};
use tokio_postgres::{Client, Config, IsolationLevel, NoTls, Portal, Row, Transaction};
use uuid::Uuid;

use super::usage::{Tally, Usage};
use crate::settings::mask;

/// How many rows of history are held at once.
const PART: i32 = 2_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to an original database.
pub struct Source(Client);

impl Source {
    /// Connects to `ecto://..` or `postgres://..`, without TLS. `password` is for a URL that has none.
    pub async fn connect(url: &str, password: Option<&str>) -> anyhow::Result<Self> {
        let known = ["ecto://", "postgres://", "postgresql://"];
        let Some(rest) = known.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            bail!("an original database is ecto://USER:PASSWORD@HOST/NAME, or postgres://..");
        };
        let shown = mask::url(url);
        // The parser's error may quote a part of the URL, which may be one of the password.
        let Ok(mut config) = format!("postgres://{rest}").parse::<Config>() else {
            bail!(
                "{shown} can't be understood: a special character in a password is percent-encoded \
                 (@ is %40), and after the question mark only PostgreSQL's own parameters may stand"
            );
        };
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if let (None, Some(password)) = (config.get_password(), password) {
            config.password(password);
        }
        config.application_name("token-manager import");
        let (client, connection) = config
            .connect(NoTls)
            .await
            .with_context(|| format!("the original database {shown} can't be reached"))?;
        // What goes wrong with it comes up in the client as well.
        tokio::spawn(connection);
        Ok(Source(client))
    }

    /// Begins to read. Everything that is read belongs to this one moment.
    pub async fn snapshot(&mut self) -> anyhow::Result<Snapshot<'_>> {
        let transaction = self.0.build_transaction();
        let transaction =
            transaction.isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
        Ok(Snapshot(transaction.await?))
    }
}

/// An original database as it stood at one moment.
pub struct Snapshot<'a>(Transaction<'a>);

/// That moment.
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
            bail!("the original database has no tokens, so there is nothing to take over");
        }
        if rows.len() > MAX_POOL_SIZE {
            bail!("the original has {} tokens; a pool holds {MAX_POOL_SIZE} at most", rows.len());
        }
        let mut values = HashSet::new();
        rows.iter().map(|row| token(row, &mut values)).collect()
    }

    /// When all this is.
    pub async fn moment(&self) -> anyhow::Result<Moment> {
        let row =
            self.0.query_one(include_str!("sql/moment.sql"), &[]).await.context(NOT_ORIGINAL)?;
        let last_start = row.try_get::<_, Option<i64>>(1)?.map(Timestamp::from_micros);
        let now = Timestamp::from_micros(row.try_get(0)?);
        Ok(Moment { now, last_start: last_start.unwrap_or(now) })
    }
}

const NOT_ORIGINAL: &str = "the database does not look like an original TokenManager's (tables \
                            `tokens` and `token_usages`)";

/// The values are secrets, so that a message names a token by its id.
fn token(row: &Row, values: &mut HashSet<Uuid>) -> anyhow::Result<Token> {
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
    Ok(Token { id: TokenId(id), value: TokenValue(value), inserted_at })
}

/// The history of an original, as leases.
pub struct Usages<'a> {
    snapshot: &'a Snapshot<'a>,
    portal: Portal,
    tokens: HashSet<Uuid>,
    length: Duration,
    now: Timestamp,
    /// What came by so far.
    pub tally: Tally,
}

impl<'a> Usages<'a> {
    /// Begins to read the history of `tokens`, whose leases lasted `length`.
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
            let why = "is of a token that does not exist; nothing was imported";
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
    let started_at = micros(3)?.with_context(|| {
        format!("the usage {id} does not say when it started; nothing was imported")
    })?;
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
