//! Output of the commands that work on a database themselves.

use std::io::{ErrorKind, Write as _};

use anyhow::Context as _;

use super::Data;

/// Prints the output of a command. A closed pipe is not an error.
///
/// # Errors
///
/// When writing fails, as on a full disk.
pub fn print(lines: &str) -> anyhow::Result<()> {
    let mut stdout = Data::stdout();
    let written = stdout.write_all(format!("{lines}\n").as_bytes()).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("can't write the output")
        }
        _ => Ok(()),
    }
}

/// Prints lines to the standard output. Errors are ignored: the reader may have gone.
pub fn say(lines: &str) {
    let _ = Data::stdout().write_all(format!("{lines}\n").as_bytes());
}

/// Prints an error and its causes.
pub fn complain(error: &anyhow::Error) {
    let causes = error.chain().skip(1).map(|cause| format!("  because: {cause}\n"));
    super::say(&format!("error: {error}\n{}", causes.collect::<String>()));
}
