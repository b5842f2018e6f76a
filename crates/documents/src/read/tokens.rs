//! Sources of tokens: lists, tables, ranges and numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use pool::Ledger;
use wire::TokenDocument;

use super::{NOT_TEXT, Place, Reader, TOKEN, TokenPlaces, load, text_of};
use crate::finding::{Finding, shown, unknown};
use crate::node::{Kind, Node};
use crate::range::{MAX_RANGE, numbers};
use crate::table;

impl Reader<'_> {
    /// Adds a token, unless the limit is reached.
    fn add(
        &mut self,
        list: &mut TokenList<'_>,
        token: TokenDocument,
        places: TokenPlaces,
        about: &Finding,
    ) -> bool {
        self.tokens += 1;
        if self.tokens > Ledger::MAX_TOKENS {
            if self.tokens == Ledger::MAX_TOKENS + 1 {
                let rule = format!("the limit is {} tokens in all pools", Ledger::MAX_TOKENS);
                self.refuse(places.token, Finding { rule, ..about.clone() });
            }
            return false;
        }
        list.tokens.push(token);
        list.places.push(places);
        true
    }

    pub(super) fn list(
        &mut self,
        node: Node,
        place: Place,
        about: Finding,
        list: &mut TokenList<'_>,
    ) {
        let name = node.name();
        let Kind::List(tokens) = node.kind else {
            let rule = format!("must be a list of tokens, not {name}");
            self.refuse(place, Finding { rule, ..about });
            return;
        };
        let about = Finding { field: None, ..about };
        for token in tokens {
            let place = self.place(&token);
            let mut places = TokenPlaces { token: place, members: [0; 3] };
            let token = self.token(token, &mut places, about.clone(), list.tokens.len());
            if self.findings.is_full() || !self.add(list, token, places, &about) {
                return;
            }
        }
    }

    /// Reads a token. One with mistakes is a token, too, so that later ones keep their numbers.
    fn token(
        &mut self,
        node: Node,
        places: &mut TokenPlaces,
        about: Finding,
        entry: usize,
    ) -> TokenDocument {
        let about = about.of_token(entry, name_of(&node));
        let mut token = TokenDocument::default();
        for member in self.members(node, places.token, &about).unwrap_or_default() {
            let place = self.place_of(&member);
            let field = about.clone().of_field(&member.key);
            if let Some(index) = TOKEN.iter().position(|name| *name == member.key) {
                places.members[index] = u32::try_from(place.line).unwrap_or(u32::MAX);
            }
            match &*member.key {
                "name" => token.name = self.text(member.node, place, field).map(Arc::from),
                "value" => token.value = self.text(member.node, place, field).map(Arc::from),
                "labels" => token.labels = Some(self.labels(member.node, place, &field)),
                name => {
                    let rule = unknown("member", name, &TOKEN);
                    self.refuse(place, Finding { rule, ..about.clone() });
                }
            }
        }
        token
    }

    fn labels(
        &mut self,
        node: Node,
        place: Place,
        about: &Finding,
    ) -> BTreeMap<Arc<str>, Arc<str>> {
        let mut labels = BTreeMap::new();
        for label in self.members(node, place, about).unwrap_or_default() {
            let place = self.place_of(&label);
            let about = about.clone().of_field(&format!("label {}", shown(&label.key)));
            let text = self.text(label.node, place, about);
            labels.extend(text.map(|text| (label.key.into(), text.into())));
        }
        labels
    }

    pub(super) fn table(
        &mut self,
        node: Node,
        place: Place,
        about: Finding,
        list: &mut TokenList<'_>,
    ) {
        let Some(name) = self.text(node, place, about.clone()) else { return };
        let Some(folder) = self.folder else {
            let rule = "can't name a file here: send the tokens as `tokens`";
            self.refuse(place, Finding { rule: rule.to_owned(), ..about });
            return;
        };
        let path = folder.join(&name);
        let bytes = match load(&path) {
            Ok(bytes) => bytes,
            Err(rule) => {
                let rule = format!("{} {rule}", path.display());
                self.refuse(place, Finding { rule, ..about });
                return;
            }
        };
        let file = self.files.len();
        self.files.push(path.display().to_string());
        let about = Finding { field: None, ..about };
        let rows = match text_of(&bytes).map(table::rows) {
            Ok(Ok(rows)) => rows,
            Ok(Err(broken)) => {
                for (line, rule) in broken {
                    self.refuse(Place { file, line }, Finding { rule, ..about.clone() });
                }
                return;
            }
            Err(line) => {
                let rule = NOT_TEXT.to_owned();
                self.refuse(Place { file, line }, Finding { rule, ..about });
                return;
            }
        };
        for row in rows {
            let token = Place { file, line: row.line };
            let places = TokenPlaces { token, members: [0; 3] };
            if !self.add(list, row.token, places, &about) {
                return;
            }
        }
    }

    pub(super) fn range(
        &mut self,
        node: Node,
        place: Place,
        about: Finding,
        list: &mut TokenList<'_>,
    ) {
        let Some(text) = self.text(node, place, about.clone()) else { return };
        let numbers = match numbers(&text) {
            Ok(numbers) => numbers,
            Err(rule) => return self.refuse(place, Finding { rule, ..about }),
        };
        for number in numbers {
            let name: Arc<str> = number.to_string().into();
            let token = TokenDocument { name: Some(name.clone()), value: Some(name), labels: None };
            let places = TokenPlaces { token: place, members: [0; 3] };
            if !self.add(list, token, places, &about) {
                return;
            }
        }
    }

    pub(super) fn generated(
        &mut self,
        node: &Node,
        place: Place,
        about: Finding,
        list: &mut TokenList<'_>,
    ) {
        let count = match node.kind {
            Kind::Integer(count) => u64::try_from(count).ok().filter(|count| *count <= MAX_RANGE),
            _ => None,
        };
        let Some(count) = count else {
            let rule = format!("must be a number from 0 to {MAX_RANGE}");
            return self.refuse(place, Finding { rule, ..about });
        };
        for _ in 0..count {
            let places = TokenPlaces { token: place, members: [0; 3] };
            if !self.add(list, TokenDocument::default(), places, &about) {
                return;
            }
        }
    }
}

/// The name of a token, if it has one that is a text.
fn name_of(token: &Node) -> Option<&str> {
    let Kind::Table(members) = &token.kind else { return None };
    members.iter().find_map(|member| match &member.node.kind {
        Kind::Text(name) if member.key == "name" => Some(name.as_str()),
        _ => None,
    })
}

/// Tokens of a pool and their places, which grow together.
pub(super) struct TokenList<'a> {
    pub tokens: &'a mut Vec<TokenDocument>,
    pub places: &'a mut Vec<TokenPlaces>,
}
