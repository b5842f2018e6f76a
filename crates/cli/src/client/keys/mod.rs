//! `token-manager keys`

mod in_database;

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Client, DEFAULT_POOL};
use jiff::Timestamp;
use pool::{KeyName, Rights};
use serde::Serialize;
use serde_json::Value;
use wire::{ApiKey, ApiKeyPage, ApiKeyWanted, KeyRotation, NewApiKey, Seconds, SessionsEnded};

use crate::duration;
use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::format::{ago, count, moment, until};
use crate::term::harmless;
use crate::term::output::{Out, QUIET, remark};
use crate::term::table::{Cell, Table, Yields};

use self::in_database::InDatabase;
use super::confirm::confirm;
use super::{Common, time_of};

/// Create, list, rotate and revoke API keys
///
/// Over HTTP, with an administrator's key. --database opens the database itself instead, which needs no key: the way to
/// the first key. Running servers that share a PostgreSQL database learn of each change at once. An SQLite file that a server
/// uses can't be opened: create its first key over HTTP on the server's machine, where callers need no key before the
/// first one exists.
#[derive(Debug, Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "\
Examples:
  token-manager keys create admin --rights admin --database
      the first key, in the database of the settings
  token-manager keys create ci --rights use --pools staging --users 'ci-*' > ci.key
      a key for a program; only this prints it
  token-manager keys rotate ci --keep-old 1h
      a new secret; the old one works for another hour
  token-manager keys revoke ci
      ends its sessions and requests, too; its leases continue

Exit codes:
    4  no such key
    5  the name is taken
    8  not confirmed; nothing was done
    9  the key in use does not permit this"
)]
pub struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
    /// Open this database directly, without a server [without URL: that of the settings]
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    database: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    Create(Create),
    List(List),
    Show(Show),
    Rotate(Rotate),
    Revoke(Revoke),
    SignOut(SignOut),
    Generate(Generate),
}

/// Create an API key and print it
///
/// The output is the key alone. It can't be shown again, because the server stores only a hash.
#[derive(Debug, Args)]
pub struct Create {
    /// Name: up to 63 letters, digits, `.`, `_` and `-`
    #[arg(value_name = "NAME", value_parser = key_name)]
    name: String,
    /// Rights, each including those before it
    #[arg(long, value_parser = Rights::WORDS)]
    rights: String,
    /// Pools to which the rights apply: names, or beginnings of names with * at the end; may be given several times
    /// [default: * for admin]
    #[arg(long, value_name = "POOL", value_delimiter = ',')]
    pools: Vec<String>,
    /// Users for whom the key may allocate: names, or beginnings of names with * at the end; may be given several times
    /// [default: * for admin]
    #[arg(long, value_name = "USER")]
    users: Vec<String>,
    /// When the key expires, such as 90d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    expires_in: Option<Duration>,
    /// Maximum number of running leases that the key allocated
    #[arg(long, value_name = "COUNT")]
    max_leases: Option<u32>,
    /// Maximum number of requests per second, at each server
    #[arg(long, value_name = "COUNT")]
    max_requests_per_second: Option<u32>,
    /// Print nothing but the key
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

/// List the API keys
#[derive(Debug, Args)]
pub struct List {
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true)]
    limit: Option<usize>,
}

/// Show an API key
#[derive(Debug, Args)]
pub struct Show {
    /// Key: its name or id
    #[arg(value_name = "KEY", value_parser = key_name)]
    named: String,
}

/// Give an API key a new secret and print it
#[derive(Debug, Args)]
pub struct Rotate {
    /// Key: its name or id
    #[arg(value_name = "KEY", value_parser = key_name)]
    named: String,
    /// How long the present secret stays valid, up to 30d [default: it is invalid at once]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    keep_old: Option<Duration>,
    /// Print nothing but the key
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

/// Revoke an API key for good
///
/// Its sessions, event streams and waiting requests end at once. Leases that it allocated continue.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Key: its name or id
    #[arg(value_name = "KEY", value_parser = key_name)]
    named: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

/// End the sessions of all browsers that are signed in with an API key
#[derive(Debug, Args)]
pub struct SignOut {
    /// Key: its name or id
    #[arg(value_name = "KEY", value_parser = key_name)]
    named: String,
}

/// Print a new API key without storing it, for the setting bootstrap-key
///
/// Needs neither a server nor a database.
#[derive(Debug, Args)]
pub struct Generate {}

/// Where the keys are.
enum Place {
    Server(Client),
    Database(InDatabase),
}

impl Keys {
    pub async fn perform(self) -> Result<(), CliError> {
        if let KeysCommand::Generate(_) = self.command {
            return Ok(Out::standard().line(engine::plain_key().reveal())?);
        }
        let Keys { command, database, common } = self;
        if let KeysCommand::Create(create) = &command {
            create.check()?;
        }
        let mut place = match &database {
            Some(url) => Place::Database(InDatabase::open(url).await?),
            None => Place::Server(common.client()?),
        };
        let done = match command {
            KeysCommand::Create(create) => create.perform(&mut place, &common).await,
            KeysCommand::List(list) => list.perform(&mut place, &common).await,
            KeysCommand::Show(show) => show.perform(&mut place, &common).await,
            KeysCommand::Rotate(rotate) => rotate.perform(&mut place, &common).await,
            KeysCommand::Revoke(revoke) => revoke.perform(&mut place, &common).await,
            KeysCommand::SignOut(sign_out) => sign_out.perform(&mut place, &common).await,
            KeysCommand::Generate(_) => unreachable!("it needs no place"),
        };
        match (&mut place, done) {
            (Place::Database(database), Ok(())) => database.close().await,
            (_, done) => done,
        }
    }
}

impl Create {
    /// Refuses a key that could do nothing, which is most likely a mistake.
    fn check(&self) -> Result<(), CliError> {
        let is = |right: Rights| self.rights == right.as_str();
        let needs_pools = self.pools.is_empty() && !is(Rights::Admin);
        let needs_users = self.users.is_empty() && (is(Rights::Use) || is(Rights::Operate));
        let missing = match (needs_pools, needs_users) {
            (false, false) => return Ok(()),
            (true, false) => "--pools, the pools to which they apply",
            (false, true) => "--users, the users for whom the key may allocate",
            (true, true) => "--pools and --users, to which they apply",
        };
        let users = if is(Rights::Read) { "" } else { " --users 'ci-*'" };
        let example = format!(
            "`token-manager keys create {} --rights {} --pools {DEFAULT_POOL}{users}`; '*' means all",
            self.name, self.rights
        );
        let what = format!("--rights {} needs {missing}", self.rights);
        Err(CliError::new(Exit::Usage, what).hint(example))
    }

    async fn perform(self, place: &mut Place, common: &Common) -> Result<(), CliError> {
        let rights = Rights::from_word(&self.rights).expect("clap checks the word");
        let all = |given: Vec<String>| {
            if given.is_empty() && rights == Rights::Admin { vec!["*".to_owned()] } else { given }
        };
        let wanted = ApiKeyWanted {
            name: self.name,
            rights: rights.as_str().into(),
            pools: all(self.pools),
            users: all(self.users),
            expires_at: None,
            expires_in_seconds: self.expires_in.map(Seconds),
            max_requests_per_second: self.max_requests_per_second,
            max_leases: self.max_leases,
        };
        let (json, new, now) = match place {
            Place::Server(client) => {
                let reply = client.create_key(&wanted).await?;
                let now = time_of(&reply, None)?;
                (reply.json.clone(), reply.read()?, now)
            }
            Place::Database(database) => {
                let (new, now) = database.create(&wanted).await?;
                (json(&new), new, now)
            }
        };
        print_new(common, self.quiet, &json, &new, now, "Created")
    }
}

impl List {
    async fn perform(self, place: &mut Place, common: &Common) -> Result<(), CliError> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let empty =
            "No API keys. `token-manager keys create NAME --rights admin` creates the first one.";
        let client = match place {
            Place::Server(client) => client,
            Place::Database(database) => {
                let (mut keys, now) = database.list().await?;
                keys.truncate(limit);
                let out = Out::standard();
                if common.json {
                    return Ok(out.json(&json(&ApiKeyPage { keys, next: None }))?);
                }
                if keys.is_empty() {
                    remark(empty);
                    return Ok(());
                }
                return Ok(out.print(&table(&keys, now).text(out.width))?);
            }
        };
        let reply = client.keys(limit).await?;
        common.list(&reply, limit, empty, |page| {
            let now = time_of(&reply, None)?;
            Ok((!page.keys.is_empty()).then(|| table(&page.keys, now)))
        })
    }
}

impl Show {
    async fn perform(self, place: &mut Place, common: &Common) -> Result<(), CliError> {
        match place {
            Place::Server(client) => {
                let reply = client.key(&self.named).await?;
                let now = time_of(&reply, None)?;
                common.print(&reply, |key| facts(&key, now))
            }
            Place::Database(database) => {
                let (key, now) = database.show(&self.named).await?;
                print(common, &key, |key| facts(key, now))
            }
        }
    }
}

impl Rotate {
    async fn perform(self, place: &mut Place, common: &Common) -> Result<(), CliError> {
        let keep = self.keep_old.unwrap_or_default();
        let (json, new, now) = match place {
            Place::Server(client) => {
                let rotation = KeyRotation { keep_old_seconds: self.keep_old.map(Seconds) };
                let reply = client.rotate_key(&self.named, &rotation).await?;
                let now = time_of(&reply, None)?;
                (reply.json.clone(), reply.read()?, now)
            }
            Place::Database(database) => {
                let (new, now) = database.rotate(&self.named, keep).await?;
                (json(&new), new, now)
            }
        };
        print_new(common, self.quiet, &json, &new, now, "Rotated")
    }
}

impl Revoke {
    async fn perform(self, place: &mut Place, common: &Common) -> Result<(), CliError> {
        if !self.yes {
            let named = &self.named;
            confirm(
                &format!("revoke the API key {named}"),
                ["This revokes the API key ", named, " for good. Revoke?"],
            )?;
        }
        let done = |key: &ApiKey| {
            Ok(Out::standard().line(format!("Revoked: {} ({}).", key.name, harmless(&key.id)))?)
        };
        match place {
            Place::Server(client) => {
                let reply = client.revoke_key(&self.named).await?;
                common.print(&reply, |key| done(&key))
            }
            Place::Database(database) => print(common, &database.revoke(&self.named).await?, done),
        }
    }
}

impl SignOut {
    async fn perform(self, place: &mut Place, common: &Common) -> Result<(), CliError> {
        let done = |ended: &SessionsEnded| {
            let sessions = count(ended.sessions_ended, "session");
            Ok(Out::standard().line(format!("Signed out: {sessions} ended."))?)
        };
        match place {
            Place::Server(client) => {
                let reply = client.end_sessions(&self.named).await?;
                common.print(&reply, |ended| done(&ended))
            }
            Place::Database(database) => {
                print(common, &database.sign_out(&self.named).await?, done)
            }
        }
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn print<T: Serialize>(
    common: &Common,
    value: &T,
    text: impl FnOnce(&T) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if common.json { Ok(Out::standard().json(&json(value))?) } else { text(value) }
}

/// Prints a key with its secret: the secret alone on the standard output.
fn print_new(
    common: &Common,
    quiet: bool,
    json: &Value,
    new: &NewApiKey,
    now: Timestamp,
    done: &str,
) -> Result<(), CliError> {
    let out = Out::standard();
    if common.json {
        return Ok(out.json(json)?);
    }
    out.line(harmless(&new.secret))?;
    if !quiet {
        let NewApiKey { key, .. } = new;
        let old =
            key.rotating_until.map(|at| format!(" The old secret works until {}.", moment(at.0)));
        remark(format!(
            "{done}: {} ({}), {}. Store the key now: it can't be shown again.{}",
            key.name,
            key.id,
            scope(key, now),
            old.unwrap_or_default()
        ));
    }
    Ok(())
}

/// What a key permits, in words.
fn scope(key: &ApiKey, now: Timestamp) -> String {
    let [pools, users] = [&key.pools, &key.users].map(|names| names.join(", "));
    let users = if users.is_empty() { String::new() } else { format!(", for users {users}") };
    let expires =
        key.expires_at.map_or(String::new(), |at| format!(", expires {}", until(now, at.0)));
    format!("rights {} on pools {pools}{users}{expires}", key.rights)
}

fn table(keys: &[ApiKey], now: Timestamp) -> Table<9> {
    let mut table = Table::new([
        ("NAME", Yields::Never),
        ("ID", Yields::Never),
        ("RIGHTS", Yields::Never),
        ("POOLS", Yields::Cuts),
        ("USERS", Yields::Cuts),
        ("LEASES", Yields::Goes(2)),
        ("SESSIONS", Yields::Goes(1)),
        ("LAST USED", Yields::Goes(4)),
        ("EXPIRES", Yields::Goes(3)),
    ]);
    for key in keys {
        table.row([
            (&key.name).into(),
            Cell::styled(QUIET, &key.id),
            (&*key.rights).into(),
            key.pools.join(", ").into(),
            key.users.join(", ").into(),
            key.running_leases.to_string().into(),
            key.sessions.to_string().into(),
            key.last_used_at.map_or_else(|| "never".to_owned(), |at| ago(now, at.0)).into(),
            key.expires_at.map_or_else(|| "never".to_owned(), |at| until(now, at.0)).into(),
        ]);
    }
    table
}

fn facts(key: &ApiKey, now: Timestamp) -> Result<(), CliError> {
    let names = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => harmless(&names.join(", ")),
    };
    let at = |at: Option<wire::Time>, none: &str| {
        at.map_or_else(|| none.to_owned(), |at| format!("{} ({})", moment(at.0), until(now, at.0)))
    };
    let limit = |limit: Option<u32>| limit.map_or("none".to_owned(), |limit| limit.to_string());
    let last = key.last_used_at.map_or_else(|| "never".to_owned(), |at| ago(now, at.0));
    let by = key.created_by.as_deref().map_or(String::new(), |by| format!(" by {}", harmless(by)));
    let mut facts = vec![
        ("name", harmless(&key.name)),
        ("id", harmless(&key.id)),
        ("rights", harmless(&key.rights)),
        ("pools", names(&key.pools)),
        ("users", names(&key.users)),
        ("created", format!("{}{by}", moment(key.created_at.0))),
        ("expires", at(key.expires_at, "never")),
        ("last used", last),
        ("running leases", key.running_leases.to_string()),
        ("maximum of leases", limit(key.max_leases)),
        ("requests per second", limit(key.max_requests_per_second)),
        ("sessions", key.sessions.to_string()),
    ];
    if key.rotating_until.is_some() {
        facts.push(("old secret until", at(key.rotating_until, "")));
    }
    Ok(Out::standard().facts(&facts)?)
}

/// Parses the name or id of a key.
pub fn key_name(text: &str) -> Result<String, String> {
    // In a path, these two would mean another path.
    if [".", ".."].contains(&text) {
        return Err("a key can't be named so in a URL: use its id".to_owned());
    }
    KeyName::new(text).map(|name| name.to_string()).map_err(|rule| format!("a key's name {rule}"))
}
