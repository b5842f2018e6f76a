//! The document of pools that is applied at each start.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use documents::{Options, Parsed, summary};
use engine::{Error, Handle};
use pool::Plan;
use tracing::{info, warn};

use crate::term::format::moment;

/// Pauses between attempts while the database is away: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Maximum number of changes that are logged one by one.
const LOGGED: usize = 100;

/// Reads a document and makes a plan of it.
///
/// # Errors
///
/// All mistakes of the document, a line each.
pub fn plan(path: &Path) -> anyhow::Result<Plan> {
    let Parsed { document, warnings } = documents::read(path)?;
    for warning in warnings {
        warn!(%warning, "document of pools");
    }
    let options = Options::default();
    Ok(documents::plan(&document, options, engine::token_id, engine::token_value)?)
}

/// Applies a plan once the database can be used. Idempotent, so that it is repeated after an unknown outcome, and on
/// several servers.
///
/// # Errors
///
/// When the plan breaks a rule, or has a text that the database can't store.
pub async fn apply(handle: &Handle, plan: &Plan) -> anyhow::Result<()> {
    let mut pause = PAUSES.0;
    let applied = loop {
        match handle.change(plan.clone()).await {
            Ok(applied) => break applied,
            Err(Error::Busy { .. } | Error::NotDone { .. } | Error::OutcomeUnknown) => {}
            // The engine reports why.
            Err(Error::Stopping) => return Ok(()),
            Err(error) => bail!("can't apply the document of pools: {error}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    };
    let (changes, before) = match applied {
        Ok(applied) => applied,
        Err(refused) => bail!("can't apply the document of pools: {refused}"),
    };
    let result = documents::applied_result(&before, &changes, false);
    let lines = summary(&result, |time| moment(time.0));
    for change in lines.iter().take(LOGGED) {
        info!(change, "document of pools applied");
    }
    if lines.len() > LOGGED {
        info!(further = lines.len() - LOGGED, "document of pools applied");
    }
    if lines.is_empty() {
        info!("document of pools: no changes");
    }
    Ok(())
}
