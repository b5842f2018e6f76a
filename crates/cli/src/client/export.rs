//! `token-manager export`

use clap::Args;
use client::{Client, DEFAULT_POOL};
use documents::{Invalid, to_csv, to_json, to_toml};
use pool::{HumanDuration, Policy, PolicyField, ShowValues};
use serde::Deserialize as _;
use serde_json::Value;
use wire::{PolicyText, PoolDetails, PoolDocument, PoolsDocument, Seconds, TokenDocument};

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::output::{Out, remark};

use super::Common;
use super::in_pool::pool_name;

/// Write the present pools as a document for `apply`
///
/// Applying the document changes nothing; on another server it makes the same pools. Tokens that are being retired are
/// left out, and so are values, unless --values is given and the pool shows them to everyone. No server returns the
/// values of other pools to anyone but holders: keep the document that you applied.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager export > pools.toml
      all pools
  token-manager export staging --format csv --values > staging.csv
      the tokens of one pool, for a spreadsheet or tokens_csv")]
pub struct Export {
    /// Only this pool
    #[arg(value_name = "POOL", value_parser = pool_name)]
    pool: Option<String>,
    /// Format; csv has the tokens of one pool, without its policy
    #[arg(long, value_parser = ["toml", "json", "csv"], default_value = "toml")]
    format: String,
    /// Include the values of tokens, where the pool shows them to everyone; warns about each pool that does not
    #[arg(long)]
    values: bool,
    #[command(flatten)]
    common: Common,
}

impl Export {
    pub async fn perform(self) -> Result<(), CliError> {
        let is_csv = self.format == "csv" && !self.common.json;
        if is_csv && self.pool.is_none() {
            return Err(CliError::new(Exit::Usage, "csv has the tokens of one pool")
                .hint(format!("`token-manager export {DEFAULT_POOL} --format csv`")));
        }
        let client = self.common.client()?;
        let pools = match &self.pool {
            Some(pool) => vec![client.pool_details(pool).await?.read()?],
            None => client.pools(usize::MAX).await?.read()?.pools,
        };
        let mut document = PoolsDocument::default();
        for pool in pools {
            let name = pool.name.clone();
            document.pools.insert(name, self.document(&client, pool).await?);
        }
        let text = if is_csv {
            let tokens = document.pools.into_values().next().and_then(|pool| pool.tokens);
            to_csv(&tokens.unwrap_or_default()).map_err(|invalid| inexpressible(&invalid))?
        } else if self.common.json || self.format == "json" {
            to_json(&document)
        } else {
            to_toml(&document)
        };
        Ok(Out::standard().bytes(text.as_bytes())?)
    }

    async fn document(&self, client: &Client, pool: PoolDetails) -> Result<PoolDocument, CliError> {
        let shows = ShowValues::from_word(&pool.policy.show_values) == Some(ShowValues::Everyone);
        if self.values && !shows {
            remark(format!(
                "warning: the pool {} shows values to holders only, so its tokens are without values; the document \
                 that was applied has them",
                pool.name
            ));
        }
        let page = client.pool_tokens(&pool.name, usize::MAX).await?.read()?;
        let tokens = page.tokens.into_iter().filter(|token| !token.retiring);
        let tokens = tokens.map(|token| TokenDocument {
            name: Some(token.name),
            value: token.value.filter(|_| self.values).map(|value| value.to_string().into()),
            labels: Some(token.labels).filter(|labels| !labels.is_empty()),
        });
        let description = Some(pool.description).filter(|text| !text.is_empty());
        let tokens = Some(tokens.collect());
        let mut document = PoolDocument { description, tokens, ..PoolDocument::default() };
        let policy = serde_json::to_value(&pool.policy).unwrap_or_default();
        for field in Policy::FIELDS {
            if let Some(member) = document.policy_mut(field.name) {
                *member = text(&policy, field).map(PolicyText);
            }
        }
        // A policy without it has leases of one length.
        if document.max_lease == document.lease {
            document.max_lease = Some(PolicyText("lease".to_owned()));
        }
        Ok(document)
    }
}

/// The value of a field as documents have it. None if the server does not know the field.
fn text(policy: &Value, field: &PolicyField) -> Option<String> {
    if let Some(seconds) = policy.get(format!("{}_seconds", field.name)) {
        return Some(HumanDuration(Seconds::deserialize(seconds).ok()?.0).to_string());
    }
    match policy.get(field.name)? {
        Value::Null => field.unset.map(str::to_owned),
        Value::String(word) => Some(word.clone()),
        other => Some(other.to_string()),
    }
}

fn inexpressible(invalid: &Invalid) -> CliError {
    CliError::new(Exit::Failed, invalid.to_string()).hint("--format toml or --format json")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_keep_every_field() {
        let of = |when_full: &str, most: Value| {
            let policy = json!({
                "when_full": when_full, "lease_seconds": 90, "max_lease_seconds": 3600,
                "min_hold_seconds": 1.5, "max_per_user": most, "membership": "open",
            });
            Policy::FIELDS.iter().map(|field| text(&policy, field)).collect::<Vec<_>>()
        };
        let some = |texts: [&str; 6]| texts.map(|text| Some(text.to_owned())).to_vec();
        let unknown = vec![None; Policy::FIELDS.len() - 6];
        let expected = some(["90s", "1h", "wait", "1500ms", "3", "open"]);
        assert_eq!(of("wait", json!(3)), [&expected[..], &unknown].concat());
        let expected = some(["90s", "1h", "later", "1500ms", "none", "open"]);
        assert_eq!(of("later", Value::Null), [&expected[..], &unknown].concat());
    }
}
