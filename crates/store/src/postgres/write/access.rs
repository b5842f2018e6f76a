//! Parameters of the statements that write API keys, sessions and the audit log, column by column.

use pool::{Act, Actor, ApiKey, ApiKeyId, PoolName, Session};

use crate::net_changes::AccessChanges;
use crate::postgres::connect::flight::Step;
use crate::postgres::read::rows::Moment;
use crate::postgres::write::parameters::Parameter;
use crate::postgres::write::statements::Statements;
use crate::{api_key, document};

/// The changes of keys and sessions, and the new entries of the audit log.
pub(crate) struct AccessColumns<'a> {
    keys: Keys<'a>,
    ended: Vec<&'a [u8]>,
    revoked: Vec<&'a str>,
    sessions: Sessions<'a>,
    acts: Acts<'a>,
}

impl<'a> AccessColumns<'a> {
    /// `None` if nothing changed, as in almost every batch.
    pub(crate) fn of(changes: &'a AccessChanges) -> Option<Self> {
        if changes.is_empty() {
            return None;
        }
        Some(AccessColumns {
            keys: Keys::of(&changes.keys),
            ended: changes.sessions_ended.iter().map(|hash| &hash.as_bytes()[..]).collect(),
            revoked: changes.revoked().map(|key| key.id.as_str()).collect(),
            sessions: Sessions::of(&changes.sessions_started),
            acts: Acts::of(&changes.acts),
        })
    }

    /// The statements that have rows to write; `entry` is time and version of the batch. Keys come before
    /// their sessions.
    pub(crate) fn steps<'s>(
        &'s self,
        statements: &'s Statements,
        entry: [Parameter<'s>; 2],
    ) -> Vec<Step<'s>> {
        let AccessColumns { keys, ended, revoked, sessions, acts } = self;
        let mut steps: Vec<Step<'_>> = Vec::new();
        if !keys.ids.is_empty() {
            steps.push((&statements.change_keys, keys.parameters().into()));
        }
        if !(ended.is_empty() && revoked.is_empty()) {
            steps.push((&statements.end_sessions, vec![ended, revoked]));
        }
        if !sessions.hashes.is_empty() {
            steps.push((&statements.start_sessions, sessions.parameters().into()));
        }
        if !acts.actions.is_empty() {
            let parameters = entry.into_iter().chain(acts.parameters()).collect();
            steps.push((&statements.append_acts, parameters));
        }
        steps
    }
}

#[derive(Default)]
struct Keys<'a> {
    ids: Vec<&'a str>,
    names: Vec<&'a str>,
    rights: Vec<&'a str>,
    pools: Vec<String>,
    users: Vec<String>,
    secrets: Vec<String>,
    created: Vec<Moment>,
    creators: Vec<Option<&'a str>>,
    expire: Vec<Option<Moment>>,
    revoked: Vec<Option<Moment>>,
    max_requests: Vec<Option<i64>>,
    max_leases: Vec<Option<i64>>,
}

impl<'a> Keys<'a> {
    fn of(keys: &'a [ApiKey]) -> Self {
        let mut columns = Keys::default();
        for key in keys {
            columns.ids.push(key.id.as_str());
            columns.names.push(key.name.as_str());
            columns.rights.push(key.rights.as_str());
            columns.pools.push(document::of(&key.pools));
            columns.users.push(document::of(&key.users));
            columns.secrets.push(api_key::of_secrets(&key.secrets));
            columns.created.push(Moment(key.created_at));
            columns.creators.push(key.created_by.as_ref().map(ApiKeyId::as_str));
            columns.expire.push(key.expires_at.map(Moment));
            columns.revoked.push(key.revoked_at.map(Moment));
            columns.max_requests.push(key.max_requests_per_second.map(i64::from));
            columns.max_leases.push(key.max_leases.map(i64::from));
        }
        columns
    }

    fn parameters(&self) -> [Parameter<'_>; 12] {
        [
            &self.ids,
            &self.names,
            &self.rights,
            &self.pools,
            &self.users,
            &self.secrets,
            &self.created,
            &self.creators,
            &self.expire,
            &self.revoked,
            &self.max_requests,
            &self.max_leases,
        ]
    }
}

#[derive(Default)]
struct Sessions<'a> {
    hashes: Vec<&'a [u8]>,
    keys: Vec<&'a str>,
    kinds: Vec<&'a str>,
    started: Vec<Moment>,
    expire: Vec<Moment>,
}

impl<'a> Sessions<'a> {
    fn of(sessions: &'a [Session]) -> Self {
        let mut columns = Sessions::default();
        for session in sessions {
            columns.hashes.push(session.hash.as_bytes());
            columns.keys.push(session.key.as_str());
            columns.kinds.push(session.kind.as_str());
            columns.started.push(Moment(session.started_at));
            columns.expire.push(Moment(session.expires_at));
        }
        columns
    }

    fn parameters(&self) -> [Parameter<'_>; 5] {
        [&self.hashes, &self.keys, &self.kinds, &self.started, &self.expire]
    }
}

#[derive(Default)]
struct Acts<'a> {
    actors: Vec<Option<&'a str>>,
    names: Vec<Option<&'a str>>,
    actions: Vec<&'a str>,
    pools: Vec<Option<&'a str>>,
    subjects: Vec<&'a str>,
}

impl<'a> Acts<'a> {
    fn of(acts: &'a [Act]) -> Self {
        let mut columns = Acts::default();
        for Act { actor, action, pool, subject } in acts {
            let actor = actor.as_ref().map(|Actor { id, name }| (id.as_str(), name.as_str()));
            columns.actors.push(actor.map(|(id, _)| id));
            columns.names.push(actor.map(|(_, name)| name));
            columns.actions.push(action.as_str());
            columns.pools.push(pool.as_ref().map(PoolName::as_str));
            columns.subjects.push(subject);
        }
        columns
    }

    fn parameters(&self) -> [Parameter<'_>; 5] {
        [&self.actors, &self.names, &self.actions, &self.pools, &self.subjects]
    }
}
