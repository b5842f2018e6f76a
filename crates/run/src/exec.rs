//! Start of the command. On Linux a run starts its own executable first, which asks the system to kill it when the
//! run is killed, takes the terminal, and then becomes the command: only a process itself can do that in time.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

/// First argument of that intermediate process.
const MARKER: &str = "--become-the-command";

/// This executable, also after its file was replaced.
const SELF: &str = "/proc/self/exe";

/// Failure of [`become_command`].
#[derive(Debug)]
pub enum ExecError {
    /// The run was killed before the command started.
    Orphaned,
    /// The system can't execute the program.
    Failed {
        /// Program.
        program: OsString,
        /// Error of the system.
        error: io::Error,
    },
}

/// Second argument: whether the command gets the terminal.
const FOREGROUND: &str = "foreground";
const BACKGROUND: &str = "background";

/// Builds the command for a program. Must be started from a thread that lives as long as the run.
pub(crate) fn command(program: &OsStr, arguments: &[OsString], foreground: bool) -> Command {
    if cfg!(target_os = "linux") && Path::new(SELF).exists() {
        let mut command = Command::new(SELF);
        let place = if foreground { FOREGROUND } else { BACKGROUND };
        command.args([MARKER, place, &std::process::id().to_string()]);
        command.arg(program).args(arguments);
        return command;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Becomes the command, if this process was started as the intermediate one. Every program that calls
/// [`crate::run`] has to call this first. Returns only if it was not, or if the command can't be executed.
#[must_use]
pub fn become_command() -> Option<ExecError> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != MARKER {
        return None;
    }
    let foreground = arguments.next()? == FOREGROUND;
    let (run, program) = (arguments.next()?, arguments.next()?);
    Some(exec(&run, program, &arguments.collect::<Vec<_>>(), foreground))
}

#[cfg(target_os = "linux")]
fn exec(run: &OsStr, program: OsString, arguments: &[OsString], foreground: bool) -> ExecError {
    use std::os::unix::process::CommandExt as _;

    use nix::sys::prctl::set_pdeathsig;
    use nix::sys::signal::Signal;
    use nix::unistd::getppid;

    use crate::terminal::Terminal;

    // Without it, the command runs as on other systems.
    let _ = set_pdeathsig(Signal::SIGKILL);
    // The run may have been killed before.
    if run.to_str() != Some(&getppid().to_string()) {
        return ExecError::Orphaned;
    }
    if foreground {
        // Here rather than by the run: a command may look for the terminal as soon as it starts.
        Terminal::open().take();
    }
    let error = Command::new(&program).args(arguments).exec();
    ExecError::Failed { program, error }
}

#[cfg(not(target_os = "linux"))]
fn exec(_: &OsStr, program: OsString, _: &[OsString], _: bool) -> ExecError {
    ExecError::Failed { program, error: io::ErrorKind::Unsupported.into() }
}
