//! `token-manager apply` and `diff`

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use documents::{Finding, Format, Invalid, MAX_DOCUMENT_BYTES, Parsed, Source, summary};
use serde::Deserialize as _;
use wire::{PlanFinding, PlanRefused};

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::format::moment;
use crate::term::harmless;
use crate::term::output::{GOOD, MIND, Out, PLAIN, paint, remark};

use super::Common;

/// Apply a document of pools and their tokens
///
/// The whole document is applied, or nothing of it. Applying it again changes nothing. Prints each change, without the
/// values of tokens.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager apply -f pools.toml
      creates and changes the pools and tokens of the document
  token-manager apply -f pools.toml --prune
      also retires tokens that the document does not name

Exit codes:
    2  the document has mistakes; nothing was done
    4  a pool to delete does not exist; nothing was done
    5  the tokens of a pool are fixed, or a pool to delete has running leases; nothing was done
    6  the server is away; nothing was done
    7  no reply; it is safe to repeat the command")]
pub struct Apply {
    #[command(flatten)]
    document: Document,
    /// Only list the changes
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// List the changes that `apply` would make
///
/// Changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager diff -f pools.toml --prune
      also lists the tokens that would be retired

Exit codes:
    0  the document is valid, with or without changes
    2  the document has mistakes
    5  the tokens of a pool are fixed, or a pool to delete has running leases")]
pub struct Diff {
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    common: Common,
}

/// A document, and how it is applied.
#[derive(Debug, Args)]
struct Document {
    /// Document in TOML or JSON; - reads the standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Retire the tokens that the document does not name, in the pools whose tokens it names
    #[arg(long)]
    prune: bool,
    /// End the running leases of pools that the document deletes
    #[arg(long)]
    end_leases: bool,
}

impl Apply {
    pub async fn perform(self) -> Result<(), CliError> {
        self.document.send(&self.common, self.dry_run).await
    }
}

impl Diff {
    pub async fn perform(self) -> Result<(), CliError> {
        self.document.send(&self.common, true).await.map_err(CliError::of_reading)
    }
}

impl Document {
    async fn send(&self, common: &Common, dry_run: bool) -> Result<(), CliError> {
        let client = common.client()?;
        let Parsed { document, warnings } = self.read().map_err(mistaken)?;
        for warning in warnings {
            remark(format!("warning: {warning}"));
        }
        let flags = [("dry_run", dry_run), ("prune", self.prune), ("end_leases", self.end_leases)];
        let query: Vec<_> =
            flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (*name, "true")).collect();
        let reply = client.apply(&document, &query).await.map_err(refused)?;
        common.print(&reply, |result| {
            let lines = summary(&result, |time| moment(time.0));
            if lines.is_empty() {
                remark("No changes: everything is as the document says.");
            }
            Ok(Out::standard()
                .print(&lines.iter().map(|line| coloured(line)).collect::<String>())?)
        })
    }

    fn read(&self) -> Result<Parsed, Invalid> {
        if self.file != Path::new("-") {
            return documents::read(&self.file);
        }
        let source = Source { name: "standard input", folder: Some(Path::new("")) };
        let mut bytes = Vec::new();
        if let Err(error) = io::stdin().take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes) {
            let mut finding = Finding::default();
            finding.file = Some(source.name.to_owned());
            finding.rule = format!("can't be read: {error}");
            return Err(Invalid(vec![finding]));
        }
        let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
        documents::parse(&bytes, if is_json { Format::Json } else { Format::Toml }, &source)
    }
}

/// Colours a line by its first character.
fn coloured(line: &str) -> String {
    let style = match line.chars().next() {
        Some('+') => GOOD,
        Some('-') => MIND,
        _ => PLAIN,
    };
    format!("{}\n", paint(style, harmless(line)))
}

fn mistaken(Invalid(findings): Invalid) -> CliError {
    if let [finding] = &findings[..] {
        return CliError::new(Exit::Usage, finding.to_string());
    }
    let what = format!("the document has {} mistakes; nothing was changed", findings.len());
    let error = CliError::new(Exit::Usage, what);
    let error = findings.iter().fold(error, |error, finding| error.note(finding.to_string()));
    if findings.len() < documents::MAX_FINDINGS {
        return error;
    }
    error.note(format!("There may be more: these are the first {}.", documents::MAX_FINDINGS))
}

fn refused(error: client::Error) -> CliError {
    let problem = match &error {
        client::Error::Refused(problem) => Some(problem),
        _ => None,
    };
    let findings = problem
        .and_then(|problem| PlanRefused::deserialize(&problem.json).ok())
        .map_or_else(Vec::new, |refused| refused.findings);
    let error = CliError::from(error);
    let error = match &error {
        CliError::Message { exit: Exit::OutcomeUnknown, .. } => {
            error.only_hint("again: a document that was applied already changes nothing")
        }
        _ => error,
    };
    // The message has the first one.
    findings.iter().skip(1).fold(error, |error, finding| error.note(place(finding)))
}

fn place(finding: &PlanFinding) -> String {
    let PlanFinding { pool, token, field, rule, .. } = finding;
    let pool = pool.as_ref().map(|pool| format!("pool {pool}"));
    let token = token.as_ref().map(|token| format!("token {token}"));
    let place: Vec<_> = [pool, token, field.clone()].into_iter().flatten().collect();
    format!("{}: {rule}", place.join(", "))
}
