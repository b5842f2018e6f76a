//! Decides about API keys and sessions, and writes the audit log.

use std::sync::Arc;

use super::Batch;
use crate::{
    Access, AccessCommand, AccessDone, AccessRefusal, Act, Action, Actor, ApiKey, ApiKeyId, Change,
    Forbidden, Outcome, Plan, PoolName, Rights, SecretHash, Sender, Session, SessionKind,
    Timestamp,
};

/// Number of sessions past their end that a new one removes.
const REMOVED_AT_ONCE: usize = 16;

/// Whether the key may do this; see also the rules of each command.
pub(super) fn permit_access(key: &ApiKey, command: &AccessCommand) -> Result<(), Forbidden> {
    let needed = match command {
        AccessCommand::Create(_) | AccessCommand::Rotate { .. } | AccessCommand::Revoke { .. } => {
            Rights::Admin
        }
        AccessCommand::EndSessions { key: of } if *of != key.id => Rights::Admin,
        AccessCommand::StartSession { .. }
        | AccessCommand::Redeem { .. }
        | AccessCommand::EndSession { .. }
        | AccessCommand::EndSessions { .. } => Rights::Read,
    };
    if key.rights.include(needed) { Ok(()) } else { Err(Forbidden::Right(needed)) }
}

impl Batch<'_> {
    pub(super) fn access(&mut self, command: &AccessCommand) -> Outcome {
        let done = match command {
            AccessCommand::Create(key) => self.create_key(key),
            AccessCommand::Rotate { id, hash, keep_old } => {
                let until = self.now.after(*keep_old);
                self.rotate(*id, *hash, until)
            }
            AccessCommand::Revoke { id } => self.revoke(*id),
            AccessCommand::StartSession { hash, length, is_code } => {
                let kind = if *is_code { SessionKind::Code } else { SessionKind::Browser };
                let key = self.sender.key().ok_or(AccessRefusal::UnknownKey);
                key.and_then(|key| self.start_session(key, *hash, self.now.after(*length), kind))
            }
            AccessCommand::Redeem { code, hash, length } => {
                self.redeem(code, *hash, self.now.after(*length))
            }
            AccessCommand::EndSession { hash } => Ok(self.end_sessions(&[*hash])),
            AccessCommand::EndSessions { key } => self.administered(*key).map(|key| {
                let sessions = self.ledger.access.sessions_of(key.id);
                let hashes: Vec<_> = sessions.map(|session| session.hash).collect();
                self.end_sessions(&hashes)
            }),
        };
        done.map_or_else(Outcome::NoAccess, Outcome::Access)
    }

    fn create_key(&mut self, key: &ApiKey) -> Result<AccessDone, AccessRefusal> {
        let access = &self.ledger.access;
        let key = ApiKey { created_at: self.now, created_by: self.sender.key(), ..key.clone() };
        if !key.is_valid(self.now) {
            return Err(AccessRefusal::Over);
        }
        if access.is_empty() && !is_first(&key) {
            return Err(AccessRefusal::FirstKey);
        }
        if self.acting().is_some_and(|acting| !acting.covers(&key)) {
            return Err(AccessRefusal::TooWide);
        }
        if access.key_named(&key.name).is_some() {
            return Err(AccessRefusal::NameTaken);
        }
        if access.key(key.id).is_some() {
            return Err(AccessRefusal::IdTaken);
        }
        if access.len() >= Access::MAX_KEYS {
            return Err(AccessRefusal::TooManyKeys);
        }
        Ok(self.write(Action::KeyCreated, key))
    }

    fn rotate(
        &mut self,
        id: ApiKeyId,
        hash: SecretHash,
        until: Timestamp,
    ) -> Result<AccessDone, AccessRefusal> {
        let key = self.administered(id)?;
        let secrets = key.secrets.rotated(hash, Some(until).filter(|until| *until > self.now));
        Ok(self.write(Action::KeyRotated, ApiKey { secrets, ..ApiKey::clone(&key) }))
    }

    fn revoke(&mut self, id: ApiKeyId) -> Result<AccessDone, AccessRefusal> {
        let key = self.administered(id)?;
        // A ledger that had a key never serves callers without one again.
        let mut others = self.ledger.access.keys_after("").filter(|other| other.id != id);
        let is_last = is_first(&key) && !others.any(|other| is_first(other));
        drop(others);
        if is_last {
            return Err(AccessRefusal::LastKey);
        }
        let revoked = ApiKey { revoked_at: Some(self.now), ..ApiKey::clone(&key) };
        Ok(self.write(Action::KeyRevoked, revoked))
    }

    fn write(&mut self, action: Action, key: ApiKey) -> AccessDone {
        self.act(action, None, format!("{} ({})", key.name, key.id));
        self.record(Change::KeyChanged(key.clone()));
        AccessDone::Key(key)
    }

    fn start_session(
        &mut self,
        key: ApiKeyId,
        hash: SecretHash,
        expires_at: Timestamp,
        kind: SessionKind,
    ) -> Result<AccessDone, AccessRefusal> {
        for over in self.ledger.access.over(self.now, REMOVED_AT_ONCE) {
            self.record(Change::SessionEnded(over));
        }
        let access = &self.ledger.access;
        let key = access.valid(key, self.now).ok_or(AccessRefusal::UnknownKey)?;
        if access.has_session(&hash) {
            return Err(AccessRefusal::IdTaken);
        }
        if access.session_count() >= Access::MAX_SESSIONS {
            return Err(AccessRefusal::TooManySessions);
        }
        let (id, name) = (key.id, key.name.clone());
        let expires_at = key.expires_at.map_or(expires_at, |end| end.min(expires_at));
        let session = Session { hash, key: id, kind, started_at: self.now, expires_at };
        if kind == SessionKind::Browser {
            let actor = Some(Actor { id, name: name.clone() });
            let subject = format!("{name} ({id})").into();
            self.record(Change::Acted(Act {
                actor,
                action: Action::SessionStarted,
                pool: None,
                subject,
            }));
        }
        self.record(Change::SessionStarted(session.clone()));
        Ok(AccessDone::Session(session))
    }

    fn redeem(
        &mut self,
        code: &SecretHash,
        hash: SecretHash,
        expires_at: Timestamp,
    ) -> Result<AccessDone, AccessRefusal> {
        let found = self.ledger.access.session(code, self.now);
        let key =
            found.filter(|(session, _)| session.kind == SessionKind::Code).map(|(_, key)| key.id);
        let key = key.ok_or(AccessRefusal::UnknownCode)?;
        let started = self.start_session(key, hash, expires_at, SessionKind::Browser)?;
        self.record(Change::SessionEnded(*code));
        Ok(started)
    }

    fn end_sessions(&mut self, hashes: &[SecretHash]) -> AccessDone {
        let mut ended = 0;
        for hash in hashes {
            let found = self.ledger.access.session(hash, self.now);
            let browser = found.filter(|(session, _)| session.kind == SessionKind::Browser);
            if let Some(key) = browser.map(|(_, key)| Arc::clone(key)) {
                self.act(Action::SessionEnded, None, format!("{} ({})", key.name, key.id));
                ended += 1;
            }
            if self.ledger.access.has_session(hash) {
                self.record(Change::SessionEnded(*hash));
            }
        }
        AccessDone::SessionsEnded(ended)
    }

    /// The key with this id, if the acting key may administer it. A wider one is treated as if it did not exist.
    fn administered(&self, id: ApiKeyId) -> Result<Arc<ApiKey>, AccessRefusal> {
        let key = self.ledger.access.key(id).ok_or(AccessRefusal::UnknownKey)?;
        match self.acting() {
            Some(acting) if acting.id != id && !acting.covers(key) => {
                Err(AccessRefusal::UnknownKey)
            }
            _ => Ok(Arc::clone(key)),
        }
    }

    fn acting(&self) -> Option<&Arc<ApiKey>> {
        self.sender.key().and_then(|id| self.ledger.access.key(id))
    }

    /// Adds an entry to the audit log, for the acting key.
    pub(super) fn act(
        &mut self,
        action: Action,
        pool: Option<PoolName>,
        subject: impl Into<Arc<str>>,
    ) {
        let actor = self.acting().map(|key| Actor { id: key.id, name: key.name.clone() });
        let mut subject = subject.into();
        if let Sender::UserOf(_, user) = &self.sender {
            subject = format!("{subject}, by user {}", user.name).into();
        }
        self.record(Change::Acted(Act { actor, action, pool, subject }));
    }

    /// Adds an entry for a plan with these changes.
    pub(super) fn act_on(&mut self, plan: &Plan, changes: &[Change]) {
        let only = match &plan.pools[..] {
            [pool] => Some(pool.name.clone()),
            _ => None,
        };
        let pools = plan.pools.len();
        let of = if only.is_some() { String::new() } else { format!(" in {pools} pools") };
        self.act(Action::PoolsChanged, only, format!("{} changes{of}", changes.len()));
    }
}

/// Whether the key may be the first one, and the last one: from then on nothing is done without a key, so that key has to be able to
/// do everything.
fn is_first(key: &ApiKey) -> bool {
    key.rights == Rights::Admin
        && key.pools.match_everything()
        && key.users.match_everything()
        && key.expires_at.is_none()
}
