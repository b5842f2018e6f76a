//! Decides what a plan changes about the tokens of a pool.

use std::collections::{HashMap, HashSet, VecDeque};

use super::pools::Refused;
use super::{Intent, PlanRule, TokenWanted};
use crate::{
    Change, Pool, PoolId, Taints, Timestamp, Token, TokenId, TokenName, TokenValue, TokenView,
};

/// The tokens of a pool and the entries of a plan about them.
pub(super) struct Tokens<'a> {
    pool: Option<&'a Pool>,
    /// Tokens that entries are about.
    meant: HashSet<TokenId>,
    retired: Vec<&'a Token>,
    changed: Vec<Token>,
    /// New tokens, some without a name.
    new: Vec<&'a TokenWanted>,
    /// Names that tokens lose.
    freed: HashSet<&'a TokenName>,
    /// Names that tokens get.
    given: HashSet<&'a TokenName>,
}

fn refused(token: &str, field: Option<&'static str>, rule: PlanRule) -> Refused {
    Refused { token: Some(token.to_owned()), field, rule }
}

impl<'a> Tokens<'a> {
    pub fn of(
        pool: Option<&'a Pool>,
        entries: &'a [TokenWanted],
        prune: bool,
    ) -> Result<Self, Refused> {
        let (retired, changed, new) = Default::default();
        let [freed, given] = Default::default();
        let meant = HashSet::new();
        let mut known = Tokens { pool, meant, retired, changed, new, freed, given };
        for entry in entries {
            if let Intent::Retire(id) = entry.intent {
                let token = known.meant(id)?;
                known.retire(token);
            }
        }
        for entry in entries {
            known.named(entry)?;
        }
        known.unnamed(entries);
        if prune {
            for TokenView { token, .. } in pool.into_iter().flat_map(|pool| pool.tokens(0)) {
                if !known.meant.contains(&token.id) {
                    known.retire(token);
                }
            }
        }
        Ok(known)
    }

    /// The token with this id, which an entry is about.
    fn meant(&mut self, id: TokenId) -> Result<&'a Token, Refused> {
        let id_of = || id.0.to_string();
        let view = self.pool.and_then(|pool| pool.token(id));
        let token = view.ok_or_else(|| refused(&id_of(), None, PlanRule::UnknownToken))?.token;
        if !self.meant.insert(id) {
            return Err(refused(&token.name, None, PlanRule::TokenTwice));
        }
        Ok(token)
    }

    fn retire(&mut self, token: &'a Token) {
        if token.retired_at.is_none() {
            self.freed.insert(&token.name);
            self.retired.push(token);
        }
    }

    /// Enters an entry that is about a token with a certain name or id.
    fn named(&mut self, entry: &'a TokenWanted) -> Result<(), Refused> {
        match (entry.intent, &entry.name) {
            (Intent::Retire(_), _) | (Intent::Put, None) => {}
            (Intent::Create, None) => self.new.push(entry),
            (Intent::Change(id), name) => {
                let token = self.meant(id)?;
                if token.retired_at.is_some() {
                    return Err(refused(&token.name, None, PlanRule::Retired));
                }
                if let Some(name) = name.as_ref().filter(|name| **name != token.name) {
                    self.take(name, PlanRule::NameTaken)?;
                    self.freed.insert(&token.name);
                }
                self.change(token, entry);
            }
            (Intent::Create, Some(name)) => {
                self.take(name, PlanRule::NameTaken)?;
                self.new.push(entry);
            }
            (Intent::Put, Some(name)) => {
                let existing = self.pool.and_then(|pool| pool.token_named(name));
                if let Some(view) = existing.filter(|_| !self.freed.contains(name)) {
                    let token = self.meant(view.token.id)?;
                    self.change(token, entry);
                } else {
                    self.take(name, PlanRule::TokenTwice)?;
                    self.new.push(entry);
                }
            }
        }
        Ok(())
    }

    /// Gives a token this name.
    fn take(&mut self, name: &'a TokenName, rule: PlanRule) -> Result<(), Refused> {
        if self.is_used(name) || !self.given.insert(name) {
            return Err(refused(name, Some("name"), rule));
        }
        Ok(())
    }

    /// Whether a token has this name now and keeps it.
    fn is_used(&self, name: &TokenName) -> bool {
        let used = self.pool.is_some_and(|pool| pool.token_named(name).is_some());
        used && !self.freed.contains(name)
    }

    fn change(&mut self, before: &Token, entry: &TokenWanted) {
        let token = Token {
            name: entry.name.as_ref().unwrap_or(&before.name).clone(),
            value: entry.value.as_ref().unwrap_or(&before.value).clone(),
            labels: entry.labels.as_ref().unwrap_or(&before.labels).clone(),
            ..before.clone()
        };
        if token != *before {
            self.changed.push(token);
        }
    }

    /// Finds tokens for the entries without a name: first for those with a value, since the others
    /// accept any token.
    fn unnamed(&mut self, entries: &'a [TokenWanted]) {
        let is_unnamed = |entry: &&TokenWanted| entry.intent == Intent::Put && entry.name.is_none();
        let unnamed: Vec<&TokenWanted> = entries.iter().filter(is_unnamed).collect();
        if unnamed.is_empty() {
            return;
        }
        let mut by_value: HashMap<&TokenValue, VecDeque<&'a Token>> = HashMap::new();
        let rest = self.pool.into_iter().flat_map(|pool| pool.tokens(0)).map(|view| view.token);
        let rest = rest.filter(|token| token.retired_at.is_none());
        let rest: Vec<&Token> = rest.filter(|token| !self.meant.contains(&token.id)).collect();
        for token in &rest {
            by_value.entry(&token.value).or_default().push_back(token);
        }
        let mut found: HashMap<TokenId, &'a Token> = HashMap::new();
        for entry in &unnamed {
            let same = entry.value.as_ref().and_then(|value| by_value.get_mut(value)?.pop_front());
            if let Some(token) = same {
                self.meant.insert(token.id);
                found.insert(entry.fresh_id, token);
            }
        }
        let mut rest = rest.into_iter();
        for entry in unnamed {
            let token = found.remove(&entry.fresh_id).or_else(|| match entry.value {
                Some(_) => None,
                None => rest.find(|token| !self.meant.contains(&token.id)),
            });
            match token {
                Some(token) => {
                    self.meant.insert(token.id);
                    self.change(token, entry);
                }
                None => self.new.push(entry),
            }
        }
    }

    /// Number of tokens that leave the pool at once.
    pub fn leaving(&self, now: Timestamp) -> usize {
        let view = |token: &&Token| self.pool.and_then(|pool| pool.token(token.id));
        let is_free = |view: &TokenView<'_>| view.running(now).is_none();
        self.retired.iter().filter_map(view).filter(is_free).count()
    }

    /// Number of new tokens.
    pub fn new_count(&self) -> usize {
        self.new.len()
    }

    /// The changes, in an order in which no name is used twice.
    pub fn changes(self, pool: PoolId, now: Timestamp) -> Vec<Change> {
        let retired: HashSet<TokenId> = self.retired.iter().map(|token| token.id).collect();
        let tickets = self.pool.into_iter().flat_map(Pool::tickets);
        let given_up =
            tickets.filter(|ticket| ticket.token.is_some_and(|token| retired.contains(&token)));
        let mut changes: Vec<Change> =
            given_up.map(|ticket| Change::WaitGivenUp { lease_id: ticket.lease_id }).collect();
        let retire = |token: &&Token| Change::TokenRetired { token_id: token.id, at: now };
        changes.extend(self.retired.iter().map(retire));
        changes.extend(self.changed.iter().cloned().map(Change::TokenChanged));
        let mut positions = self.pool.map_or(0, |pool| pool.next_position)..;
        for entry in &self.new {
            let is_free = |position: &u32| {
                let name = TokenName::of_position(*position);
                entry.name.is_some() || !self.is_used(&name) && !self.given.contains(&name)
            };
            let position = positions.find(is_free).expect("there are more positions than tokens");
            let name = entry.name.clone().unwrap_or_else(|| TokenName::of_position(position));
            changes.push(Change::TokenAdded(Token {
                id: entry.fresh_id,
                pool,
                position,
                name,
                value: entry.value.as_ref().unwrap_or(&entry.fresh_value).clone(),
                labels: entry.labels.clone().unwrap_or_default(),
                taints: Taints::default(),
                inserted_at: now,
                retired_at: None,
            }));
        }
        changes
    }
}
