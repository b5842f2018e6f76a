//! `token-manager dashboard`

use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;

use crate::term::error::CliError;
use crate::term::output::{Out, remark};

use super::Common;

/// Open the dashboard, signed in with the API key of this command
///
/// The URL has a code with which one browser signs in, once and within a minute.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager dashboard
      opens a browser
  token-manager dashboard --print
      for a browser on another machine")]
pub struct Dashboard {
    /// Only print the URL
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    common: Common,
}

impl Dashboard {
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        // A caller without a key has nothing to sign in with, but may see the dashboard.
        let caller = client.caller().await?.read()?;
        let is_anonymous = caller.key.is_none() && caller.rights.is_some();
        let (url, expires_at) = if is_anonymous {
            (format!("{}/", client.url()), None)
        } else {
            let code = client.sign_in_code().await?.read()?;
            (format!("{}/#code={}", client.url(), code.code), Some(code.expires_at))
        };
        if self.common.json {
            return Ok(out.json(&json!({ "url": url, "expires_at": expires_at }))?);
        }
        if self.print {
            return Ok(out.line(url)?);
        }
        if !open(&url) {
            out.line(&url)?;
            remark("No browser was opened here: open this URL within a minute.");
        }
        Ok(())
    }
}

/// Opens a URL in a browser, if there is a screen for one.
fn open(url: &str) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
        "xdg-open"
    } else {
        return false;
    };
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
