//! Reads documents and finds their mistakes.

mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use pool::Ledger;
use uuid::Uuid;
use wire::{PolicyText, PoolDocument, PoolsDocument};

use self::tokens::TokenList;
use crate::finding::{Finding, Findings, Invalid, pool_members, shown, unknown};
use crate::lines::Lines;
use crate::node::{Format, Kind, Member, Node};
use crate::plan::{Options, plan, shared_values};

/// Maximum size of a document, in a file or a request, and of a table. Enough for 1,000,000 tokens with a
/// short name and value: a document is applied in one step, which is a single entry of the journal, and reading it
/// takes several times its size in memory.
pub const MAX_DOCUMENT_BYTES: u64 = 64 * 1_024 * 1_024;

/// Members of a token.
const TOKEN: [&str; 3] = ["name", "value", "labels"];

/// A document without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The document, with the tokens of its tables and ranges.
    pub document: PoolsDocument,
    /// Likely mistakes, for people.
    pub warnings: Vec<Finding>,
}

/// Origin of a document.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Name in messages.
    pub name: &'a str,
    /// Folder of the files that `tokens_csv` names. `None` if the document may not name files.
    pub folder: Option<&'a Path>,
}

/// Reads the document in a file with the extension `.toml` or `.json`, and the tables that it names.
///
/// # Errors
///
/// [`Invalid`] if a file can't be read or has a mistake.
pub fn read(path: &Path) -> Result<Parsed, Invalid> {
    let name = path.display().to_string();
    let refused = |rule: String| Invalid(vec![Finding::new(rule).at(&name, None)]);
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Format::Toml,
        Some("json") => Format::Json,
        Some("csv") => {
            let rule =
                "has the tokens of one pool: name it in a document, as tokens_csv of the pool";
            return Err(refused(rule.to_owned()));
        }
        _ => return Err(refused("must have a name that ends in .toml or .json".to_owned())),
    };
    let bytes = load(path).map_err(refused)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&bytes, format, &Source { name: &name, folder: Some(folder) })
}

/// Reads a document.
///
/// # Errors
///
/// [`Invalid`] if it has a mistake, or names a file with one.
pub fn parse(bytes: &[u8], format: Format, source: &Source<'_>) -> Result<Parsed, Invalid> {
    Reader::read(bytes, format, source, Reader::document)
}

/// Reads the JSON document of a single pool.
///
/// # Errors
///
/// [`Invalid`] if it has a mistake.
pub fn parse_pool(bytes: &[u8], pool: &str, source: &Source<'_>) -> Result<Parsed, Invalid> {
    Reader::read(bytes, Format::Json, source, |reader, node| {
        let place = reader.place(&node);
        reader.pool(pool, place, node);
    })
}

fn load(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("can't be read: {error}"))?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(format!(
            "has more than {} MiB, which is the limit: apply a part of the pools at a time",
            MAX_DOCUMENT_BYTES >> 20
        ));
    }
    Ok(bytes)
}

/// The text of a file, without the mark that some editors put first. Or the line of the first byte that
/// is not UTF-8.
fn text_of(bytes: &[u8]) -> Result<&str, usize> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        Lines::of(&before).line(before.len())
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

const NOT_TEXT: &str = "is not text in UTF-8: save it as UTF-8";

/// A line of one of the files.
#[derive(Clone, Copy)]
struct Place {
    file: usize,
    line: usize,
}

/// Places of a pool's parts.
struct PoolPlaces {
    pool: Place,
    members: Vec<(String, Place)>,
    tokens: Vec<TokenPlaces>,
}

struct TokenPlaces {
    token: Place,
    /// Lines of [`TOKEN`]; 0 if the member is on the line of the token.
    members: [u32; 3],
}

struct Reader<'a> {
    folder: Option<&'a Path>,
    lines: Lines,
    /// Names of the files, the document first.
    files: Vec<String>,
    document: PoolsDocument,
    /// By the pool's name in findings.
    places: BTreeMap<String, PoolPlaces>,
    findings: Findings,
    /// Number of tokens so far.
    tokens: usize,
}

impl<'a> Reader<'a> {
    fn read(
        bytes: &[u8],
        format: Format,
        source: &Source<'a>,
        read: impl FnOnce(&mut Self, Node),
    ) -> Result<Parsed, Invalid> {
        let refused =
            |line, rule: String| Invalid(vec![Finding::new(rule).at(source.name, Some(line))]);
        let text = text_of(bytes).map_err(|line| refused(line, NOT_TEXT.to_owned()))?;
        let lines = Lines::of(text);
        let node = Node::parse(text, format)
            .map_err(|broken| refused(lines.line(broken.at), broken.message))?;
        let (files, folder) = (vec![source.name.to_owned()], source.folder);
        let (document, places, findings) = Default::default();
        let mut reader = Reader { folder, lines, files, document, places, findings, tokens: 0 };
        read(&mut reader, node);
        reader.finish()
    }

    /// Checks by the rules what was read.
    fn finish(mut self) -> Result<Parsed, Invalid> {
        if let Err(Invalid(findings)) =
            plan(&self.document, Options::default(), Uuid::nil, Uuid::nil)
        {
            for finding in findings {
                let finding = self.locate(finding);
                self.findings.add(finding);
            }
        }
        if self.findings.0.is_empty() {
            let warnings = shared_values(&self.document);
            let warnings = warnings.into_iter().map(|finding| self.locate(finding)).collect();
            return Ok(Parsed { document: self.document, warnings });
        }
        let mut findings = self.findings.0;
        findings.sort_by_key(|finding| {
            let file = self.files.iter().position(|file| Some(file) == finding.file.as_ref());
            (file, finding.line)
        });
        Err(Invalid(findings))
    }

    /// The finding with its place, and with that of the other token.
    fn locate(&self, finding: Finding) -> Finding {
        let Some(places) = finding.pool.as_ref().and_then(|pool| self.places.get(pool)) else {
            return finding.at(&self.files[0], None);
        };
        let token = |entry: Option<usize>| entry.and_then(|entry| places.tokens.get(entry));
        let field = finding.field.as_deref();
        let place = if let Some(token) = token(finding.entry) {
            let member = TOKEN.iter().position(|member| Some(*member) == field);
            let line = member.map_or(0, |member| token.members[member] as usize);
            Place { line: if line == 0 { token.token.line } else { line }, ..token.token }
        } else {
            let mut members = places.members.iter();
            let member = members.find(|(name, _)| Some(name.as_str()) == field);
            member.map_or(places.pool, |(_, place)| *place)
        };
        let rule = match token(finding.other) {
            Some(TokenPlaces { token: Place { file, line }, .. }) => {
                format!("{} ({}:{line})", finding.rule, self.files[*file])
            }
            None => finding.rule.clone(),
        };
        Finding { rule, ..finding }.at(&self.files[place.file], Some(place.line))
    }

    fn place(&self, node: &Node) -> Place {
        Place { file: 0, line: self.lines.line(node.at) }
    }

    fn place_of(&self, member: &Member) -> Place {
        Place { file: 0, line: self.lines.line(member.at) }
    }

    fn refuse(&mut self, place: Place, finding: Finding) {
        self.findings.add(finding.at(&self.files[place.file], Some(place.line)));
    }

    fn document(&mut self, node: Node) {
        let place = self.place(&node);
        let Some(members) = self.members(node, place, &Finding::default()) else { return };
        for member in members {
            let place = self.place_of(&member);
            if member.key != "pools" {
                let mut rule = unknown("member", &member.key, &["pools"]);
                if matches!(member.node.kind, Kind::Table(_)) {
                    rule = format!("{rule}; a pool begins with [pools.NAME]");
                }
                self.refuse(place, Finding::new(rule));
                continue;
            }
            let about = Finding::default().of_field("pools");
            let Some(pools) = self.members(member.node, place, &about) else { return };
            if pools.len() > Ledger::MAX_POOLS {
                let (count, most) = (pools.len(), Ledger::MAX_POOLS);
                let rule = format!("has {count} pools, and the limit is {most}");
                self.refuse(place, Finding::new(rule));
                return;
            }
            for pool in pools {
                let place = self.place_of(&pool);
                self.pool(&pool.key, place, pool.node);
            }
        }
    }

    /// The members of a table, each once.
    fn members(&mut self, node: Node, place: Place, about: &Finding) -> Option<Vec<Member>> {
        let name = node.name();
        let Kind::Table(mut members) = node.kind else {
            let rule = format!("must be a table of members, not {name}");
            self.refuse(place, Finding { rule, ..about.clone() });
            return None;
        };
        let mut keys = BTreeSet::new();
        let mut twice = Vec::new();
        members.retain(|member| {
            let is_new = keys.insert(member.key.clone());
            twice.extend((!is_new).then(|| (member.at, shown(&member.key))));
            is_new
        });
        for (at, key) in twice {
            let place = Place { file: 0, line: self.lines.line(at) };
            let rule = format!("has {key} twice: remove one");
            self.refuse(place, Finding { rule, ..about.clone() });
        }
        Some(members)
    }

    fn text(&mut self, node: Node, place: Place, about: Finding) -> Option<String> {
        let name = node.name();
        let rule = match node.kind {
            Kind::Text(text) => return Some(text),
            Kind::Table(_) | Kind::List(_) | Kind::Other("null") => {
                format!("must be a text, not {name}")
            }
            _ => format!("must be a text, not {name}: put it in quotes"),
        };
        self.refuse(place, Finding { rule, ..about });
        None
    }

    fn pool(&mut self, name: &str, place: Place, node: Node) {
        let about = Finding::default().of_pool(name);
        let Some(members) = self.members(node, place, &about) else { return };
        let mut places = PoolPlaces {
            pool: place,
            members: Vec::with_capacity(members.len()),
            tokens: Vec::new(),
        };
        let mut pool = PoolDocument::default();
        let mut sources = Vec::new();
        for member in members {
            let place = self.place_of(&member);
            places.members.push((member.key.clone(), place));
            let about = about.clone().of_field(&member.key);
            match &*member.key {
                "description" => {
                    pool.description = self.text(member.node, place, about).map(Into::into);
                }
                "keep_other_tokens" => {
                    pool.keep_other_tokens = self.switch(&member.node, place, about);
                }
                "delete" => pool.delete = self.switch(&member.node, place, about),
                "tokens" | "tokens_csv" | "tokens_range" | "tokens_generated" => {
                    sources.push(member);
                }
                name => {
                    if let Some(field) = pool.policy_mut(name) {
                        *field = self.policy_text(member.node, place, about);
                    } else {
                        let rule = unknown("member", name, &pool_members());
                        self.refuse(place, Finding { rule, field: None, ..about });
                    }
                }
            }
        }
        // In the same order in every format.
        sources.sort_by(|one, other| one.key.cmp(&other.key));
        for source in sources {
            let place = self.place_of(&source);
            let tokens = pool.tokens.get_or_insert_default();
            let mut list = TokenList { tokens, places: &mut places.tokens };
            let about = about.clone().of_field(&source.key);
            match &*source.key {
                "tokens" => self.list(source.node, place, about, &mut list),
                "tokens_csv" => self.table(source.node, place, about, &mut list),
                "tokens_range" => self.range(source.node, place, about, &mut list),
                _ => self.generated(&source.node, place, about, &mut list),
            }
        }
        self.places.insert(shown(name), places);
        self.document.pools.insert(name.into(), pool);
    }

    fn switch(&mut self, node: &Node, place: Place, about: Finding) -> bool {
        if let Kind::Bool(value) = node.kind {
            return value;
        }
        let rule = format!("must be true or false, not {}", node.name());
        self.refuse(place, Finding { rule, ..about });
        false
    }

    fn policy_text(&mut self, node: Node, place: Place, about: Finding) -> Option<PolicyText> {
        if let Kind::Integer(number) = node.kind {
            return Some(PolicyText(number.to_string()));
        }
        self.text(node, place, about).map(PolicyText)
    }
}
