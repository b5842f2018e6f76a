//! The first API key, and the check that a server which others can reach has one.

use std::time::Duration;

use anyhow::bail;
use engine::{Error, Handle};
use pool::{
    AccessCommand, AccessRefusal, ApiKey, KeyName, Patterns, PlainKey, Rights, Secrets, Timestamp,
};
use server::Anonymous;
use tracing::info;

/// Name of the first key.
const NAME: &str = "bootstrap";

/// Pauses between attempts while the database is away: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Creates the first key, if no key exists, and returns how callers are authenticated.
///
/// # Errors
///
/// When other machines reach the server, and neither a key nor the setting `anonymous` says who may use it.
pub async fn prepare(
    handle: &Handle,
    settings: &server::Settings,
    first: Option<&PlainKey>,
) -> anyhow::Result<String> {
    if let Some(first) = first {
        create(handle, first).await?;
    }
    let found = handle.access(|access, _| {
        (server::access_refusal(access, settings), callers(access.len(), settings))
    });
    match found {
        Some((Some(refusal), _)) => bail!(refusal),
        Some((None, callers)) => Ok(callers),
        // The engine has stopped, and reports why.
        None => Ok(String::new()),
    }
}

/// Creates the first key, once the database can be used. Several servers may do that at the same time.
async fn create(handle: &Handle, plain: &PlainKey) -> anyhow::Result<()> {
    let key = ApiKey {
        id: plain.id(),
        name: KeyName::new(NAME)?,
        rights: Rights::Admin,
        pools: Patterns::everything(),
        users: Patterns::everything(),
        secrets: Secrets::new(plain.hash()),
        created_at: Timestamp::from_micros(0),
        created_by: None,
        expires_at: None,
        revoked_at: None,
        max_requests_per_second: None,
        max_leases: None,
    };
    let mut pause = PAUSES.0;
    loop {
        if handle.access(|access, _| !access.is_empty()) == Some(true) {
            return Ok(());
        }
        match handle.change_access(AccessCommand::Create(key.clone())).await {
            Ok(Ok(_)) => {
                info!(id = %key.id, name = NAME, "created the first API key");
                return Ok(());
            }
            // Another server was first, or this server whose answer got lost.
            // The engine reports why it stops.
            Ok(Err(AccessRefusal::NameTaken | AccessRefusal::IdTaken)) | Err(Error::Stopping) => {
                return Ok(());
            }
            Ok(Err(refusal)) => bail!("can't create the first API key: {refusal}"),
            Err(Error::Busy { .. } | Error::NotDone { .. } | Error::OutcomeUnknown) => {}
            Err(error) => bail!("can't create the first API key: {error}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// How callers are authenticated, in a sentence.
fn callers(keys: usize, settings: &server::Settings) -> String {
    let others = match (settings.anonymous, settings.loopback && settings.trust_loopback) {
        (_, true) => "callers without one may do everything",
        (Some(Anonymous::Read), _) => "other callers may read",
        (Some(Anonymous::Use), _) => "other callers may read and use",
        (None, _) if keys == 0 => {
            return "Callers need no API key, because none exists; `token-manager keys create` creates the first."
                .to_owned();
        }
        (Some(Anonymous::None) | None, _) => "other callers may do nothing",
    };
    let keys = if keys == 1 { "1 API key".to_owned() } else { format!("{keys} API keys") };
    format!("Callers are authenticated by {keys}; {others}.")
}
