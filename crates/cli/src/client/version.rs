//! `token-manager version`

use clap::Args;
use serde_json::json;

use crate::term::error::CliError;
use crate::term::output::Out;

/// Print this program's version
///
/// `token-manager status` shows the version of the server.
#[derive(Debug, Args)]
pub struct Version {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

impl Version {
    /// Prints the version.
    pub fn perform(&self) -> Result<(), CliError> {
        let (out, version) = (Out::standard(), env!("CARGO_PKG_VERSION"));
        if self.json {
            return Ok(out.json(&json!({ "version": version }))?);
        }
        Ok(out.line(format!("token-manager {version}"))?)
    }
}
