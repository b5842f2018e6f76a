//! A ledger that a command opens by itself, without a server. The permissions of the database replace API keys here.

use std::sync::Arc;

use engine::{Fatal, Handle, Scope};
use pool::{Access, AccessCommand, AccessDone, AccessRefusal, Timestamp};
use store::{DatabaseUrl, SystemClock, Wanted};
use tokio::sync::oneshot;

/// An open ledger.
pub struct Ledger {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<Result<(), Fatal>>,
}

impl Ledger {
    /// Opens the ledger of a database, which must exist.
    ///
    /// # Errors
    ///
    /// The reason, with the remedy.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, String> {
        if let DatabaseUrl::Sqlite(path) = url
            && !path.exists()
        {
            return Err(none_yet(&format!("{} does not exist", path.display())));
        }
        let database = store::database(url, Arc::new(SystemClock));
        let facts = database
            .describe()
            .await
            .map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
        let fact = |name: &str| facts.iter().find(|(known, _)| known.starts_with(name));
        let is = |name, value| fact(name).is_some_and(|(_, is)| is == value);
        if is("schema version", "0") || is("pools", "none yet") {
            return Err(none_yet("the database has no pools"));
        }
        if fact("pools").is_none() {
            let why =
                "the database's schema is not that of this version: run `token-manager migrate`";
            return Err(why.to_owned());
        }
        let (handle, engine) =
            engine::start(database, Wanted::default(), engine::Settings::default());
        let (stop, stops) = oneshot::channel::<()>();
        let ended = engine.spawn(async {
            // It also stops when the sender is dropped.
            let _ = stops.await;
        });
        let ended = ended.map_err(|error| format!("can't start: {error}"))?;
        Ok(Ledger { handle, stop: Some(stop), ended })
    }

    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// The reason why the database can't be used.
    pub async fn read<T>(
        &mut self,
        look: impl FnOnce(&Access, Timestamp) -> T,
    ) -> Result<T, String> {
        let found =
            self.handle.read_of(Scope::Timeless, |view| look(view.ledger.access(), view.now));
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// Changes keys.
    ///
    /// # Errors
    ///
    /// As [`Ledger::read`].
    pub async fn change(
        &mut self,
        command: AccessCommand,
    ) -> Result<Result<AccessDone, AccessRefusal>, String> {
        match self.handle.change_access(command).await {
            Ok(done) => Ok(done),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// Closes the ledger.
    ///
    /// # Errors
    ///
    /// As [`Ledger::read`].
    pub async fn close(&mut self) -> Result<(), String> {
        if self.stop.take().is_none() {
            return Ok(());
        }
        match (&mut self.ended).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fatal)) => Err(fatal.to_string()),
            Err(_) => Err("internal error of the engine".to_owned()),
        }
    }

    /// The reason why the engine stopped, or else this error.
    async fn failed(&mut self, error: &engine::Error) -> String {
        self.close().await.err().unwrap_or_else(|| error.to_string())
    }
}

fn none_yet(what: &str) -> String {
    format!(
        "{what}: start the server once, which creates the pool by its settings. To give it its first key \
         at that start, set TOKEN_MANAGER_BOOTSTRAP_KEY to a key of `token-manager keys generate`"
    )
}
