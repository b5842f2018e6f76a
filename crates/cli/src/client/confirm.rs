//! Confirmation of commands that can't be undone.

use std::io::{self, IsTerminal as _, Write as _};

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::harmless;
use crate::term::output::{MIND, paint};

/// Asks on the terminal whether to do this. The question has an object, which is emphasised. Without one, nothing is done.
pub fn confirm(act: &str, [before, object, after]: [&str; 3]) -> Result<(), CliError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let what =
            format!("refusing to {act} without confirmation: no terminal. Nothing was changed.");
        return Err(CliError::new(Exit::Declined, what).hint("--yes"));
    }
    let mut stderr = anstream::stderr();
    write!(stderr, "{before}{}{after} [y/N] ", paint(MIND, harmless(object)))?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    if !answer.ends_with('\n') {
        writeln!(stderr)?;
    }
    Err(CliError::new(Exit::Declined, "not confirmed; nothing was changed"))
}
