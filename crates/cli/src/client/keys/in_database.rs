//! Keys of a database that this process opens itself.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use pool::{
    Access, AccessCommand, AccessDone, AccessRefusal, ApiKeyId, KeyName, Patterns, PlainKey,
    Rights, Secrets,
};
use wire::{ApiKey, ApiKeyWanted, NewApiKey, SessionsEnded, Time};

use crate::ledger::Ledger;
use crate::settings::{Database, SettingSources};
use crate::term::error::CliError;
use crate::term::exit::Exit;

/// An open database.
pub struct InDatabase {
    ledger: Ledger,
    shown: String,
}

impl InDatabase {
    /// Opens a database; that of the settings if the URL is empty.
    pub async fn open(url: &str) -> Result<Self, CliError> {
        let flags = HashMap::from([("database", url.to_owned())]);
        let flags = if url.is_empty() { HashMap::new() } else { flags };
        let usage = |error: anyhow::Error| CliError::new(Exit::Usage, format!("{error:#}"));
        let sources =
            SettingSources::find(&flags, None, |name| std::env::var_os(name)).map_err(usage)?;
        let Database { url, shown } = sources.read("database").map_err(usage)?;
        let ledger = Ledger::open(&url).await.map_err(|why| unusable(&shown, &why))?;
        Ok(InDatabase { ledger, shown })
    }

    pub async fn create(
        &mut self,
        wanted: &ApiKeyWanted,
    ) -> Result<(NewApiKey, Timestamp), CliError> {
        let refused = |why: String| CliError::new(Exit::Usage, why);
        let patterns = |names: &[String], option: &str| {
            Patterns::new(names).map_err(|why| refused(format!("{option}: {why}")))
        };
        let plain = engine::plain_key();
        let now = self.look(|_, now| now).await?;
        let key = pool::ApiKey {
            id: plain.id(),
            name: KeyName::new(&wanted.name).map_err(|why| refused(why.to_string()))?,
            rights: Rights::from_word(&wanted.rights).unwrap_or(Rights::Read),
            pools: patterns(&wanted.pools, "--pools")?,
            users: patterns(&wanted.users, "--users")?,
            secrets: Secrets::new(plain.hash()),
            created_at: now,
            created_by: None,
            expires_at: wanted.expires_in_seconds.map(|length| now.after(length.0)),
            revoked_at: None,
            max_requests_per_second: wanted.max_requests_per_second,
            max_leases: wanted.max_leases,
        };
        self.new_key(AccessCommand::Create(key), &plain).await
    }

    pub async fn list(&mut self) -> Result<(Vec<ApiKey>, Timestamp), CliError> {
        self.look(|access, now| {
            (access.keys_after("").map(|key| shown(key, access, now)).collect(), time(now))
        })
        .await
    }

    pub async fn show(&mut self, named: &str) -> Result<(ApiKey, Timestamp), CliError> {
        let found = self
            .look(|access, now| access.find(named).map(|key| (shown(key, access, now), time(now))));
        found.await?.ok_or_else(unknown)
    }

    pub async fn rotate(
        &mut self,
        named: &str,
        keep_old: Duration,
    ) -> Result<(NewApiKey, Timestamp), CliError> {
        if keep_old > AccessCommand::MAX_KEEP_OLD {
            return Err(CliError::new(Exit::Usage, "--keep-old is too long: 30d at most"));
        }
        let id = self.id(named).await?;
        let plain = engine::plain_key().with_id(id);
        self.new_key(AccessCommand::Rotate { id, hash: plain.hash(), keep_old }, &plain).await
    }

    pub async fn revoke(&mut self, named: &str) -> Result<ApiKey, CliError> {
        let id = self.id(named).await?;
        let key = self.change(AccessCommand::Revoke { id }).await?;
        let AccessDone::Key(key) = key else { return Err(unexpected()) };
        self.look(|access, now| shown(&key, access, now)).await
    }

    pub async fn sign_out(&mut self, named: &str) -> Result<SessionsEnded, CliError> {
        let key = self.id(named).await?;
        let done = self.change(AccessCommand::EndSessions { key }).await?;
        let AccessDone::SessionsEnded(ended) = done else { return Err(unexpected()) };
        Ok(SessionsEnded { sessions_ended: u64::try_from(ended).unwrap_or(u64::MAX) })
    }

    async fn new_key(
        &mut self,
        command: AccessCommand,
        plain: &PlainKey,
    ) -> Result<(NewApiKey, Timestamp), CliError> {
        let AccessDone::Key(key) = self.change(command).await? else { return Err(unexpected()) };
        let (key, now) = self.look(|access, now| (shown(&key, access, now), time(now))).await?;
        Ok((NewApiKey { key, secret: plain.reveal() }, now))
    }

    async fn id(&mut self, named: &str) -> Result<ApiKeyId, CliError> {
        self.look(|access, _| access.find(named).map(|key| key.id)).await?.ok_or_else(unknown)
    }

    async fn look<T>(
        &mut self,
        look: impl FnOnce(&Access, pool::Timestamp) -> T,
    ) -> Result<T, CliError> {
        self.ledger.read(look).await.map_err(|why| unusable(&self.shown, &why))
    }

    async fn change(&mut self, command: AccessCommand) -> Result<AccessDone, CliError> {
        let done = self.ledger.change(command).await;
        done.map_err(|why| unusable(&self.shown, &why))?.map_err(refused)
    }

    pub async fn close(&mut self) -> Result<(), CliError> {
        self.ledger.close().await.map_err(|why| unusable(&self.shown, &why))
    }
}

fn unusable(shown: &str, why: &str) -> CliError {
    // The store's sentence is about two servers.
    if why.contains("in use by another server") {
        return CliError::new(Exit::Failed, format!("a running server uses the database {shown}"))
            .hint("without --database, over HTTP: on the server's machine that needs no key before the first one exists")
            .hint("with --database, while the server is stopped");
    }
    CliError::new(Exit::Failed, format!("can't use the database {shown}: {why}"))
}

fn refused(refusal: AccessRefusal) -> CliError {
    let exit = match refusal {
        AccessRefusal::UnknownKey => Exit::Unknown,
        AccessRefusal::NameTaken
        | AccessRefusal::IdTaken
        | AccessRefusal::TooManyKeys
        | AccessRefusal::TooManySessions => Exit::Conflict,
        _ => Exit::Usage,
    };
    let error = CliError::new(exit, refusal.to_string());
    match refusal {
        AccessRefusal::FirstKey => {
            error.hint("`token-manager keys create admin --rights admin --database`")
        }
        _ => error,
    }
}

fn unknown() -> CliError {
    refused(AccessRefusal::UnknownKey)
        .hint("`token-manager keys list --database` to list the API keys")
}

fn unexpected() -> CliError {
    CliError::new(Exit::Failed, "internal error: unexpected outcome")
}

fn shown(key: &pool::ApiKey, access: &Access, now: pool::Timestamp) -> ApiKey {
    let at = |at: pool::Timestamp| Time::from_micros(at.as_micros());
    let names = |patterns: &Patterns| patterns.iter().map(str::to_owned).collect();
    let old = key.secrets.iter().filter_map(|secret| secret.expires_at);
    ApiKey {
        id: key.id.to_string(),
        name: key.name.clone().into(),
        rights: key.rights.as_str().into(),
        pools: names(&key.pools),
        users: names(&key.users),
        created_at: at(key.created_at),
        created_by: key.created_by.map(String::from),
        expires_at: key.expires_at.map(at),
        // Only servers know it.
        last_used_at: None,
        rotating_until: old.filter(|end| now < *end).max().map(at),
        max_requests_per_second: key.max_requests_per_second,
        max_leases: key.max_leases,
        running_leases: access.leases(key.id),
        sessions: u64::try_from(access.sessions(key.id, now)).unwrap_or(u64::MAX),
        revoked_at: key.revoked_at.map(at),
    }
}

fn time(at: pool::Timestamp) -> Timestamp {
    Time::from_micros(at.as_micros()).0
}
