//! Checks for every reason why a server would refuse to start, wait, or break its promises. A
//! starting server uses some of them, so that `doctor` reports the same.

use crate::postgres::connect::locks::LEDGER_LOCK;
use crate::postgres::connect::locks::LISTENER_LOCK;
use crate::postgres::connect::locks::MIGRATION_LOCK;
use std::fmt::Display;
use std::time::{Duration, Instant};

use pool::PoolId;
use tokio_postgres::{Client, Error as PgError, IsolationLevel};

use crate::finding::refusals;
use crate::postgres::admin::schema;
use crate::postgres::admin::schema::Control;
use crate::postgres::connect::failure::at_start;
use crate::postgres::connect::holders::{self, holders};
use crate::postgres::connect::session::{Access, Purpose, Session};
use crate::postgres::connect::watch::{self, STANDBYS, WATCHED};
use crate::postgres::read::snapshot;
use crate::{Error, Finding, Level, Wanted};

const WHAT: &str = "checking";

/// Round-trip times that deserve a warning, and that no batch survives: between its two flights the
/// session waits for one, and PostgreSQL ends a session that takes longer than
/// `idle_in_transaction_session_timeout`.
const SLOW: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(1_500));

/// Connections that a server may need: to write, to read, for wake-ups, and two to start.
const CONNECTIONS: i64 = 13;

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: &str, text: impl Display) {
        self.0.push(Finding::new(Level::Ok, what, text));
    }

    fn warning(&mut self, what: &str, text: impl Display) {
        self.0.push(Finding::new(Level::Warning, what, text));
    }

    fn problem(&mut self, what: &str, text: impl Display) {
        self.0.push(Finding::new(Level::Problem, what, text));
    }
}

pub(crate) async fn check(
    access: &Access,
    wanted: &Wanted,
    allow_clock_behind: bool,
) -> Result<Vec<Finding>, Error> {
    let failed = at_start(WHAT);
    let mut findings = Findings::default();
    let mut session = access.session(Purpose::Long).await?;
    Control::refuse_transaction_pooling(access, &session).await?;
    let client = &*session.client;
    client.batch_execute(sql!("session/read_only")).await.map_err(&failed)?;
    round_trip(client, &mut findings).await.map_err(&failed)?;
    role(client, &mut findings).await.map_err(&failed)?;
    durability(client, &mut findings).await.map_err(&failed)?;
    let lacking = missing_rights(client).await.map_err(&failed)?;
    if !lacking.is_empty() {
        findings.problem("rights", wanting(&lacking));
        return Ok(findings.0);
    }
    if schema::version(client).await? < schema::ours() {
        let lacking = client.query(sql!("schema/check_owner"), &[]).await;
        let lacking = statements(lacking).map_err(&failed)?;
        if !lacking.is_empty() {
            let first = "`token-manager migrate` (and with it a server's start) needs more rights";
            findings.problem("rights", format!("{first}: {}", wanting(&lacking)));
        }
    }
    lock(client, MIGRATION_LOCK, "schema lock", &mut findings).await.map_err(&failed)?;
    if schema::check(client).await.is_ok() {
        pool(&mut session, wanted, allow_clock_behind, &mut findings).await?;
    }
    Ok(findings.0)
}

/// The statements that give this role the rights it lacks to serve the pool.
pub(crate) async fn missing_rights(client: &Client) -> Result<Vec<String>, PgError> {
    statements(client.query(sql!("schema/check_rights"), &[]).await)
}

fn statements(rows: Result<Vec<tokio_postgres::Row>, PgError>) -> Result<Vec<String>, PgError> {
    rows?.iter().map(|row| row.try_get(0)).collect()
}

/// A sentence for a role that lacks rights.
pub(crate) fn wanting(statements: &[String]) -> String {
    format!(
        "the role lacks rights. The owner of the tables or a superuser has to say: {};",
        statements.join("; ")
    )
}

async fn round_trip(client: &Client, findings: &mut Findings) -> Result<(), PgError> {
    let start = Instant::now();
    client.batch_execute("").await?;
    let took = start.elapsed();
    let text = format!("{} ms", took.as_millis());
    if took >= SLOW.1 {
        findings.problem(
            "round trip",
            format!(
                "{text}: the connection is too slow; each batch needs two round trips, between which \
                 PostgreSQL waits for 2 s at most. Move the server closer to the database"
            ),
        );
    } else if took >= SLOW.0 {
        findings.warning("round trip", format!("{text}; each allocation waits for two or more"));
    } else {
        findings.ok("round trip", text);
    }
    Ok(())
}

async fn role(client: &Client, findings: &mut Findings) -> Result<(), PgError> {
    let row = client.query_one(sql!("session/check_role"), &[]).await?;
    let (role, until): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    if let (Some(until), true) = (until, row.try_get(2)?) {
        let text = format!("the password of {role} is valid until {until}: renew it in time");
        findings.warning("password", text);
    }
    let left: i64 = row.try_get(3)?;
    if left < CONNECTIONS {
        findings.warning(
            "connections",
            format!(
                "{left} are left, and a server that starts needs up to {CONNECTIONS}: raise \
                 max_connections, or end sessions that are not needed"
            ),
        );
    }
    if row.try_get(4)? {
        findings.ok(
            "default_transaction_read_only",
            "on; this program's sessions turn it off, so it does not keep servers from writing",
        );
    }
    Ok(())
}

async fn durability(client: &Client, findings: &mut Findings) -> Result<(), PgError> {
    let names: Vec<&str> =
        WATCHED.iter().map(|watched| watched.name).chain(["synchronous_commit"]).collect();
    let files = client.query(sql!("session/check_files"), &[&names]).await;
    // Most roles lack the right to see them.
    let files = files.unwrap_or_default();
    let in_files = |name: &str| {
        let row = files.iter().find(|row| row.get::<_, &str>(0) == name)?;
        Some((row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?))
    };
    let settings = client.query(sql!("session/check_settings"), &[&names]).await?;
    let pending = |name: &str| {
        let row = settings.iter().find(|row| row.get::<_, &str>(0) == name);
        row.is_some_and(|row| row.get::<_, bool>(3))
    };
    let mut standbys = false;
    for (watched, value) in watch::read(client).await? {
        let (name, advice) = (watched.name, watched.advice);
        if name == STANDBYS {
            standbys = !watched.is_weak(&value);
        } else if watched.is_weak(&value) {
            findings.problem(name, format!("{value}; {advice}"));
        } else if let Some((file, path)) = in_files(name).filter(|(file, _)| watched.is_weak(file))
        {
            let when = if pending(name) { "restart" } else { "reload" };
            findings.problem(
                name,
                format!("{path} says {file}, which holds after the next {when}; {advice}"),
            );
        } else if !value.is_empty() {
            findings.ok(name, value);
        }
    }
    let weak = |value: &str| {
        watch::is_off(value) || (standbys && ["local", "remote_write"].contains(&value))
    };
    let row = settings.iter().find(|row| row.get::<_, &str>(0) == "synchronous_commit");
    let default = row.and_then(|row| row.get::<_, Option<String>>(1)).unwrap_or_default();
    let file = in_files("synchronous_commit").map(|(file, _)| file);
    match [Some(default), file].into_iter().flatten().find(|value| weak(value)) {
        Some(value) => findings.warning(
            "synchronous_commit",
            format!(
                "{value} by default. This program's sessions use on, so it loses nothing; but what \
                 others commit here (by hand, by pg_restore) may be lost in a crash or failover. Set \
                 it to on in postgresql.conf, the role and the database"
            ),
        ),
        None => findings.ok("synchronous_commit", "on or remote_apply in this program's sessions"),
    }
    Ok(())
}

/// The holder of a lock, if it is not a session of this program.
async fn lock(
    client: &Client,
    key: (i32, i32),
    what: &str,
    findings: &mut Findings,
) -> Result<(), PgError> {
    let found = holders(client, key).await?;
    if found.iter().any(|holder| !holder.is_own) {
        let remedy = holders::REMEDY;
        let who = holders::in_words(&found);
        findings.problem(what, format!("{who}. Servers wait for it: {remedy}"));
    }
    Ok(())
}

async fn pool(
    session: &mut Session,
    wanted: &Wanted,
    allow_clock_behind: bool,
    findings: &mut Findings,
) -> Result<(), Error> {
    let failed = at_start(WHAT);
    if !snapshot::exists(&*session.client).await.map_err(&failed)? {
        return Ok(());
    }
    lock(&session.client, LEDGER_LOCK, "ledger lock", findings).await.map_err(&failed)?;
    let servers = holders(&session.client, LISTENER_LOCK).await.map_err(&failed)?;
    let others: Vec<_> = servers.into_iter().filter(|holder| !holder.is_own).collect();
    if !others.is_empty() {
        let text = format!(
            "{}. If that is not a TokenManager server, `doctor --after-restore` refuses for it: {}",
            holders::in_words(&others),
            holders::REMEDY
        );
        findings.warning("presence lock", text);
    }
    let client: &mut Client = &mut session.client;
    let one_moment = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    let transaction = one_moment.read_only(true).start().await.map_err(&failed)?;
    let (newest, whole) = match snapshot::load(&transaction, &failed).await {
        Err(Error::Operator(sentence)) => {
            findings.problem("ledger", sentence);
            return Ok(());
        }
        loaded => loaded?,
    };
    let Some(pool) = whole.ledger.pool(PoolId::DEFAULT) else { return Ok(()) };
    let (pool, times) = (crate::wanted::facts(pool), (newest.now, newest.at));
    findings.0.extend(refusals(wanted, pool, times, allow_clock_behind));
    Ok(())
}
