//! The last step before the command. On Linux `run` starts itself, and this asks the system to kill it
//! when `run` is killed, and becomes the command. Only a process itself can ask for that.

use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode};

/// What tells that step from a command line.
const NAME: &str = "--become-the-command";

/// Where this program is, whatever became of its file.
const SELF: &str = "/proc/self/exe";

/// What starts a program. It must not be started from a thread that ends before `run` does.
pub fn command(program: &OsStr, arguments: &[OsString]) -> Command {
    if cfg!(target_os = "linux") && std::path::Path::new(SELF).exists() {
        let mut command = Command::new(SELF);
        command.arg(NAME).arg(std::process::id().to_string()).arg(program).args(arguments);
        return command;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Becomes the command, if that is what this process was started for. Returns the exit code when it
/// can't.
pub fn perform() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != NAME {
        return None;
    }
    let (run, program) = (arguments.next()?, arguments.next()?);
    Some(become_it(&run, &program, &arguments.collect::<Vec<_>>()))
}

#[cfg(target_os = "linux")]
fn become_it(run: &OsStr, program: &OsStr, arguments: &[OsString]) -> ExitCode {
    use std::io::ErrorKind;
    use std::os::unix::process::CommandExt as _;

    use nix::sys::prctl::set_pdeathsig;
    use nix::sys::signal::Signal;
    use nix::unistd::getppid;

    use crate::exit::Exit;
    use crate::term;

    // Where that can't be asked for, the command is no worse off than elsewhere.
    let _ = set_pdeathsig(Signal::SIGKILL);
    // It may have been killed before.
    if run.to_str() != Some(&getppid().to_string()) {
        return Exit::Failed.into();
    }
    let error = Command::new(program).args(arguments).exec();
    let missing = error.kind() == ErrorKind::NotFound;
    let program = program.display();
    term::say(&format!("error: \"{program}\" can't be run: {error}\n"));
    if missing { Exit::NoCommand.into() } else { Exit::CannotRun.into() }
}

#[cfg(not(target_os = "linux"))]
fn become_it(_: &OsStr, _: &OsStr, _: &[OsString]) -> ExitCode {
    crate::exit::Exit::Usage.into()
}
