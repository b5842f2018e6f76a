//! API keys and sessions: who acts, and changes of both.

use std::collections::HashMap;
use std::sync::Arc;

use pool::{
    Access, AccessCommand, AccessDone, AccessRefusal, ApiKey, ApiKeyId, Outcome, PlainKey,
    SecretHash, Sender, Session, Timestamp,
};
use tokio::sync::watch;

use super::Handle;
use crate::{AuditEntry, AuditQuery, Error, Scope};

/// Number of keys whose uses one query looks up.
const KEYS_AT_ONCE: usize = 1_000;

impl Handle {
    /// A handle whose commands are those of this sender. The rules refuse what it may not do at the moment of
    /// the decision: [`Error::Forbidden`].
    #[must_use]
    pub fn acting(&self, sender: impl Into<Sender>) -> Self {
        Handle { sender: sender.into(), ..self.clone() }
    }

    /// A handle that calls this when a command begins to wait in the queue of a pool, where it costs nothing more.
    #[must_use]
    pub fn on_queued(&self, call: Arc<dyn Fn() + Send + Sync>) -> Self {
        Handle { on_queued: Some(call), ..self.clone() }
    }

    /// Calls `look` with this server's copy of the keys and sessions, and the present time. `None` until the ledger
    /// is loaded. The copy is at least as new as every read that this server answered.
    pub fn access<T>(&self, look: impl FnOnce(&Access, Timestamp) -> T) -> Option<T> {
        let now = self.shared.estimate();
        self.shared.copy().as_ref().map(|copy| look(copy.ledger.access(), now))
    }

    /// The valid key that this is. Asks the database only if this server's copy does not have it.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn key_of(&self, key: &PlainKey) -> Result<Option<Arc<ApiKey>>, Error> {
        let (id, hash) = (key.id(), key.hash());
        self.look_up(|access, now| access.authenticate(id, &hash, now).cloned()).await
    }

    /// The running session or unused code with this hash, and its valid key. Asks the database only if this
    /// server's copy does not have it.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn session_of(
        &self,
        hash: &SecretHash,
    ) -> Result<Option<(Session, Arc<ApiKey>)>, Error> {
        let found = |access: &Access, now| {
            access.session(hash, now).map(|(session, key)| (session.clone(), Arc::clone(key)))
        };
        self.look_up(found).await
    }

    /// What `look` finds in this server's copy or, if that is nothing, in the newest state.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn look_up<T>(
        &self,
        look: impl Fn(&Access, Timestamp) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        if let Some(found) = self.access(&look).flatten() {
            return Ok(Some(found));
        }
        self.read_of(Scope::Timeless, |view| look(view.ledger.access(), view.now)).await
    }

    /// Changes keys or sessions.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn change_access(
        &self,
        command: AccessCommand,
    ) -> Result<Result<AccessDone, AccessRefusal>, Error> {
        let command = pool::Command::Access(command);
        match self.submit(command, std::time::Duration::ZERO, None).await?.0 {
            Outcome::Access(done) => Ok(Ok(done)),
            Outcome::NoAccess(refusal) => Ok(Err(refusal)),
            // A change of keys has no other outcome.
            _ => Err(Error::OutcomeUnknown),
        }
    }

    /// Notes that a request used this key. Housekeeping writes it within about a minute, and at the end.
    pub fn key_used(&self, key: ApiKeyId) {
        self.shared.key_uses.note(key, self.shared.estimate());
    }

    /// When these keys were last used, without those that never were. Uses at other servers appear within
    /// about a minute.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn last_used(
        &self,
        keys: &[ApiKeyId],
    ) -> Result<HashMap<ApiKeyId, Timestamp>, Error> {
        let reader = self.shared.reader().await?;
        let mut uses = HashMap::new();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            uses.extend(
                self.in_time("uses of API keys were not read", reader.key_uses(keys)).await?,
            );
        }
        for key in keys {
            let own = self.shared.key_uses.of(*key);
            if let Some(latest) = own.max(uses.get(key).copied()) {
                uses.insert(*key, latest);
            }
        }
        Ok(uses)
    }

    /// Returns at most `limit` of the matching entries of the audit log, in the order of the query.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn audit(&self, query: &AuditQuery, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        let reader = self.shared.reader().await?;
        self.in_time("the audit log was not read", reader.audit(query, limit)).await
    }

    /// Is woken after each change of keys or sessions, by any server.
    #[must_use]
    pub fn access_changes(&self) -> watch::Receiver<()> {
        self.shared.access_changes()
    }
}
