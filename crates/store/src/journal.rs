use pool::{Change, Fence, KeyUse, ServerId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::document;

/// Id of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId(pub Uuid);

/// Position in the journal. Two copies of a ledger are the same exactly when all three fields agree:
/// after a failover another batch may have the version of a lost one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The epoch; a new one begins after a failover or restore.
    pub epoch: i64,
    /// Number of the batch. Increases by one from batch to batch, and by more where a new epoch
    /// begins.
    pub version: i64,
    /// The batch itself.
    pub batch: BatchId,
}

/// One batch in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub position: Position,
    /// The server that decided it.
    pub server: ServerId,
    /// When it was decided, in the ledger's time.
    pub at: Timestamp,
    /// The newest fence after the batch.
    pub fence: Fence,
    /// Its changes, in order.
    pub changes: Vec<Change>,
    /// Idempotency keys used in the batch. Written together with it, but not kept in the journal:
    /// empty in an entry that was read.
    pub keys: Vec<KeyUse>,
}

/// Encoding of [`Entry::changes`]: their number, and each change, a pool followed by its policy's document.
/// Variants are only ever added at the end of [`Change`], and their fields stay as they are, except in the
/// document; a server that reads an unknown one reloads the whole ledger instead.
pub(crate) fn encode(changes: &[Change]) -> Vec<u8> {
    let mut bytes = append(&changes.len(), Vec::new());
    for change in changes {
        bytes = append(change, bytes);
        if let Some(record) = change.record() {
            bytes = append(&document::of(&record.policy), bytes);
        }
    }
    bytes
}

fn append(value: &impl Serialize, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("changes are plain values, which always serialize")
}

/// Decodes the changes in `bytes`; `None` if a newer server wrote a change unknown to this one.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<Change>> {
    let count: usize = take(&mut bytes)?;
    // Each change has at least one byte.
    let mut changes = Vec::with_capacity(count.min(bytes.len()));
    for _ in 0..count {
        let mut change: Change = take(&mut bytes)?;
        if let Some(record) = change.record_mut() {
            record.policy = document::policy(take(&mut bytes)?).ok()?;
        }
        changes.push(change);
    }
    bytes.is_empty().then_some(changes)
}

/// Takes a value from the front of `bytes`.
fn take<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    *bytes = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::slice;
    use std::time::Duration;

    use pool::{
        Act, Action, Actor, ApiKey, ApiKeyId, Effect, End, EndReason, IdempotencyKey, KeyName,
        Labels, Lease, LeaseId, Note, Patterns, Policy, PoolId, PoolName, PoolRecord, Rights,
        SecretHash, Secrets, Session, SessionKind, Taint, TaintName, Ticket, Token, TokenId,
        TokenName, TokenValue, User, WhenFull,
    };

    use super::*;

    fn changes() -> Vec<Change> {
        let (id, token_id) = (LeaseId(Uuid::from_u128(1)), TokenId(Uuid::from_u128(2)));
        let user = User::new("Ada 👩🏽‍🚀").unwrap();
        let [start, until] = [-1, i64::MAX].map(Timestamp::from_micros);
        let lease = Lease::granted(id, token_id, user, Fence::new(3), start, until);
        let note = Note::new("PR 1234").unwrap();
        let lease = Lease { pool: PoolId(7), note: Some(note.clone()), ..lease };
        let end = |reason| End::new(Timestamp::from_micros(7), reason);
        let key = ApiKeyId::new("0123456789aB").unwrap();
        let by_key = Lease { by: Some(key), ..lease.clone() };
        let ended = EndReason::ALL.map(|reason| Change::LeaseEnded {
            lease_id: lease.id,
            fence: lease.fence,
            end: end(reason),
        });
        let policy = Policy {
            max_lease: Some(Duration::from_secs(7)),
            when_full: WhenFull::Wait,
            max_per_user: Some(3),
            ..Policy::of_lease(Duration::from_micros(1_500_001))
        };
        let at = Timestamp::from_micros(8);
        let server = ServerId(Uuid::from_u128(9));
        let ticket = Ticket {
            lease_id: lease.id,
            number: 1,
            server,
            heard_at: at,
            since: at,
            until: at,
            user: User::new("Ada").unwrap(),
            key: IdempotencyKey::new("key").ok(),
            asked_lease: Some(Duration::from_secs(3)),
            asked_wait: None,
            pool: PoolId(7),
            token: Some(token_id),
            note: Some(note.clone()),
        };
        let name = PoolName::new("staging").unwrap();
        let record =
            PoolRecord { description: note, ..PoolRecord::new(PoolId(7), name, policy, at) };
        let taint = Taint {
            name: TaintName::new("broken").unwrap(),
            effect: Effect::EndLease,
            reason: Note::new("no disk").unwrap(),
            by: User::new("Bea").ok(),
            since: at,
            until: Some(until),
        };
        let token = Token {
            id: token_id,
            pool: PoolId(7),
            position: 300,
            name: TokenName::new("a1").unwrap(),
            value: TokenValue::new("https://a1.example").unwrap(),
            labels: Labels::new([("region", "eu"), ("size", "")]).unwrap(),
            taints: [taint].into_iter().collect(),
            inserted_at: at,
            retired_at: None,
        };
        let mut changes = vec![
            Change::LeaseStarted(lease.clone()),
            Change::LeaseRenewed { lease_id: lease.id, fence: lease.fence, expires_at: at },
            Change::PoolChanged(record.clone()),
            Change::WaitStarted(ticket),
            Change::WaitEnded { lease_id: lease.id },
            Change::ServerHeard { server, at },
            Change::WaitMoved { lease_id: lease.id, server, at },
            Change::WaitGivenUp { lease_id: lease.id },
            Change::WaitTimedOut { lease_id: lease.id, at },
            Change::WaitTimeoutDelivered {
                user: lease.user.id,
                key: IdempotencyKey::new("key").unwrap(),
            },
            Change::PoolCreated(record),
            Change::PoolDeleted { pool: PoolId(7), at },
            Change::TokenAdded(token.clone()),
            Change::TokenChanged(Token { retired_at: Some(at), ..token.clone() }),
            Change::TokenRetired { token_id, at },
            Change::TokenTainted(token),
            Change::LeaseStarted(by_key),
            Change::LeaseEnded {
                lease_id: lease.id,
                fence: lease.fence,
                end: End { by: Some(key), ..end(EndReason::Released) },
            },
        ];
        changes.extend(access_changes(key, at));
        changes.extend(ended);
        changes
    }

    fn access_changes(id: ApiKeyId, at: Timestamp) -> [Change; 5] {
        let name = KeyName::new("ci").unwrap();
        let hash = SecretHash::of("secret");
        let key = ApiKey {
            id,
            name: name.clone(),
            rights: Rights::Operate,
            pools: Patterns::new(["staging*", "a"]).unwrap(),
            users: Patterns::default(),
            secrets: Secrets::new(hash).rotated(hash, Some(at)),
            created_at: at,
            created_by: Some(id),
            expires_at: Some(at),
            revoked_at: Some(at),
            max_requests_per_second: Some(300),
            max_leases: Some(3),
        };
        let kind = SessionKind::Code;
        let session = Session { hash, key: id, kind, started_at: at, expires_at: at };
        let act = Act {
            actor: Some(Actor { id, name }),
            action: Action::TicketRemoved,
            pool: PoolName::new("staging").ok(),
            subject: "1".into(),
        };
        [
            Change::KeyChanged(key),
            Change::SessionStarted(session),
            Change::SessionEnded(hash),
            Change::Acted(act.clone()),
            Change::Acted(Act { actor: None, pool: None, ..act }),
        ]
    }

    #[test]
    fn changes_come_back_as_they_were() {
        assert_eq!(decode(&encode(&changes())), Some(changes()));
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
    }

    #[test]
    fn what_a_newer_server_wrote_is_not_guessed_at() {
        // An unknown variant.
        assert_eq!(decode(&[1, 99]), None);
        let bytes = encode(&changes());
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        // An additional field.
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn a_policy_of_another_version_is_read_by_its_names() {
        let at = Timestamp::from_micros(8);
        let changed = |policy| {
            Change::PoolChanged(PoolRecord::new(PoolId(7), PoolName::default_pool(), policy, at))
        };
        let of_document = |text: &str| {
            // The document is the last part.
            let mut bytes = encode(&[changed(Policy::DEFAULT)]);
            let own = append(&document::of(&Policy::DEFAULT), Vec::new());
            bytes.truncate(bytes.len() - own.len());
            decode(&append(&text, bytes))
        };
        let policy = Policy::of_lease(Duration::from_secs(7));
        assert_eq!(of_document(r#"{"lease": "7s"}"#), Some(vec![changed(policy)]));
        assert_eq!(of_document(r#"{"lease": "7s", "unknown": 1}"#), None);
    }

    /// Databases keep these bytes: if this fails, older entries can't be read any more.
    #[test]
    fn the_bytes_of_every_change_stay_the_same() {
        let bytes_of = |text: &str| -> Vec<u8> {
            let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(byte).collect()
        };
        let lines = include_str!("journal/bytes.txt").lines();
        let pinned: Vec<_> = lines.map(|line| line.split_once(' ').unwrap()).collect();
        let changes = changes();
        for change in &changes {
            let (name, one) = (change.name(), slice::from_ref(change));
            let hex: Vec<_> = encode(one).iter().map(|byte| format!("{byte:02x}")).collect();
            let now = hex.concat();
            let same = |&&(of, text): &&(_, &str)| {
                of == name && decode(&bytes_of(text)).as_deref() == Some(one)
            };
            let (_, text) = pinned.iter().find(same).unwrap_or_else(|| {
                panic!("journal/bytes.txt has no line `{name} {now}`");
            });
            // The document of a policy may have further members by now.
            assert!(*text == now || change.record().is_some(), "{name} {now}");
        }
        assert_eq!(pinned.len(), changes.len());
        for name in Change::NAMES {
            assert!(pinned.iter().any(|(known, _)| *known == name), "no example of {name}");
        }
    }
}
