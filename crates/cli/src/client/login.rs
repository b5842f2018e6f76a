//! `token-manager login` and `logout`

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use clap::Args;
use client::ServerName;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal;
use nix::sys::signal::Signal;
use wire::Code;

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::harmless;
use crate::term::output::{Out, remark};

use super::{Common, access, credentials, whoami};

/// Maximum length of the input.
const MAX_BYTES: u64 = 4 << 10;

/// Store an API key for a server
///
/// Asks for the key on a terminal, otherwise reads the standard input, so that the key is in no command line. Checks it
/// at the server, and stores it in $XDG_CONFIG_HOME/token-manager/credentials.toml, by default in
/// ~/.config/token-manager/credentials.toml, which only you can read. Later commands for this server use it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager login --server https://tokens.example
      asks for the key
  token-manager login < ci.key
      reads the key from a file

Exit codes:
    9  the server does not accept the key")]
pub struct Login {
    #[command(flatten)]
    common: Common,
}

/// Remove the stored API key of a server
///
/// Idempotent. The key stays valid: `token-manager keys revoke` ends that.
#[derive(Debug, Args)]
pub struct Logout {
    #[command(flatten)]
    common: Common,
}

impl Login {
    pub async fn perform(self) -> Result<(), CliError> {
        let server = self.common.server()?;
        let name = ServerName::of(&server)?;
        if name.has_credentials {
            let what =
                "the server's URL has a user name or password, which comes before a stored key";
            return Err(CliError::new(Exit::Usage, what).hint(format!("--server {}", name.url)));
        }
        let access = &self.common.access;
        // Fails early where the key could not be sent.
        access.client_with(&server, Some(&engine::plain_key()))?;
        let key = match access.given()? {
            Some(key) => key,
            None => access::parse(&input(&name.url)?, "API key")?,
        };
        let client = access.client_with(&server, Some(&key))?;
        let reply = client.caller().await.map_err(|error| match error.code() {
            Some(Code::Unauthenticated) => {
                let what = format!(
                    "{} does not accept this API key: it is wrong, expired or revoked",
                    name.url
                );
                CliError::new(Exit::Denied, what)
            }
            _ => error.into(),
        })?;
        let caller = reply.read()?;
        let Some(rights) = caller.rights.as_deref().filter(|_| caller.key.is_some()) else {
            return Err(client.not_token_manager("it ignores API keys").into());
        };
        let path = credentials::store(&name.url, key.reveal())?;
        if let Some(variable) = access::variable() {
            remark(format!(
                "The environment variable {variable} is set and comes before the stored key."
            ));
        }
        self.common.print(&reply, |caller| {
            Ok(Out::standard().line(format!(
                "Logged in to {} as {}, with the rights {}. The key is in {}.",
                name.url,
                whoami::name(&caller),
                harmless(rights),
                harmless(&path.display().to_string())
            ))?)
        })
    }
}

impl Logout {
    pub fn perform(self) -> Result<(), CliError> {
        let ServerName { url, .. } = ServerName::of(&self.common.server()?)?;
        let removed = credentials::remove(&url)?;
        let out = Out::standard();
        if self.common.json {
            return Ok(out.json(&serde_json::json!({ "server": url, "removed": removed }))?);
        }
        let line = if removed {
            format!("Logged out of {url}. The key stays valid until it is revoked.")
        } else {
            format!("No key of {url} is stored.")
        };
        Ok(out.line(line)?)
    }
}

/// Reads a key from the terminal, or else from the standard input.
fn input(server: &str) -> Result<String, CliError> {
    if io::stdin().is_terminal() {
        return prompt(server);
    }
    let mut text = String::new();
    io::stdin().take(MAX_BYTES).read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Err(CliError::new(Exit::Usage, "the standard input has no API key")
            .hint("`token-manager login < FILE`"));
    }
    Ok(text)
}

/// Restores the terminal when dropped.
struct RawMode;

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

/// Asks for a key without showing it, also if it is typed early.
fn prompt(server: &str) -> Result<String, CliError> {
    terminal::enable_raw_mode()?;
    let raw = RawMode;
    let mut stderr = anstream::stderr();
    write!(stderr, "API key for {}: ", harmless(server))?;
    stderr.flush()?;
    let typed = typed();
    drop(raw);
    writeln!(stderr)?;
    typed
}

fn typed() -> Result<String, CliError> {
    let mut text = String::new();
    loop {
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            (KeyCode::Char('c'), true) => return Err(CliError::Signal(Signal::SIGINT as i32)),
            (KeyCode::Char('d'), true) | (KeyCode::Enter, _) => return Ok(text),
            (KeyCode::Char('u'), true) => text.clear(),
            (KeyCode::Char(c), false) => text.push(c),
            (KeyCode::Backspace, _) => drop(text.pop()),
            _ => {}
        }
    }
}
