use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::account::Account;

/// Waits for the end of its input, which comes when this process ends in whatever way; then ends
/// the server in the folder `$1` (and no other: a server's working directory is its data) and
/// removes the folder.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
ours() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; }
if ours "$1"; then kill -QUIT "$pid"; kill -CONT "$pid"; fi
tries=0
while ours "$1" && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
if ours "$1"; then kill -KILL "$pid"; fi
tries=0
while ! rm -rf "$1" 2>/dev/null && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
"#;

/// A process that outlives this one for as long as it takes to clean up after it.
#[derive(Debug)]
pub struct Supervisor(Child);

impl Supervisor {
    pub fn start(account: &Account, folder: &Path) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "supervisor"]).arg(folder).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that what is sent to the tests' group does not reach it.
        let child = account.run_as(command.process_group(0)).spawn();
        Ok(Supervisor(child.context("starting /bin/sh")?))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // There is nothing to do about a failure here.
        let _ = self.0.wait();
    }
}
