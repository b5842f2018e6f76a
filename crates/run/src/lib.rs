//! Supervised command: runs while its user has a lease, and no longer.
//!
//! [`run`] takes a lease (`lease`), starts the command in its own process group (`child`), and supervises it
//! (`guard`) while it renews and watches the lease (`keep`). When the command ends, the lease is released; when
//! the lease ends, the command is stopped.

mod args;
mod child;
mod deadline;
mod descendants;
mod exec;
mod finish;
mod guard;
mod keep;
mod lease;
mod program;
mod report;
mod signals;
mod terminal;

use std::io;
use std::pin::pin;
use std::time::Duration;

use client::{AcquireError, Client, Moment, Progress};
use nix::sys::signal::{Signal, raise};

use self::child::Child;
use self::finish::{conclude, release_quietly, settle};
use self::guard::Guard;
use self::lease::{Acquiring, HeldLease};
use self::report::time;
use self::signals::also_ends;
use self::terminal::{Terminal, is_orphaned};

pub use self::args::{RunArgs, env};
pub use self::exec::{ExecError, become_command};
pub use self::program::ProgramError;
pub use self::report::{Report, sentence};
pub use self::signals::{ALSO_END, Signals, is_ignored};
pub use self::terminal::ignoring_sigttou;

/// Period in which several signals count as one.
const SIGNAL_GAP: Duration = Duration::from_millis(500);

/// End of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command exited with this code.
    Exited(u8),
    /// The command died of this signal, or the run received it before there was a lease.
    Signal(i32),
    /// The lease ended early, so the command was stopped.
    LeaseLost,
    /// The lease reached its deadline, so the command was stopped.
    TimeUp,
}

/// Reason why the command was not run.
#[derive(Debug)]
pub enum RunError {
    /// The program can't be executed.
    Program(ProgramError, Option<io::Error>),
    /// No lease was granted within this time.
    NoLease(AcquireError, Duration),
    /// Leases ended before the server's reply arrived.
    LeaseOver,
    /// `grace` or `stop_before` leaves no time for the command.
    NoTime,
    /// The system can't supervise a command.
    Supervision(io::Error),
}

impl From<client::Error> for RunError {
    fn from(error: client::Error) -> Self {
        RunError::NoLease(AcquireError::Failed(error), Duration::ZERO)
    }
}

/// Runs a command under a lease.
///
/// # Errors
///
/// See [`RunError`].
#[expect(clippy::result_large_err, reason = "returned once in the life of the program")]
pub fn run(
    client: &Client,
    args: &RunArgs,
    report: &dyn Report,
    progress: impl Progress + Send,
) -> Result<Ended, RunError> {
    program::check(&args.program).map_err(|error| RunError::Program(error, None))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(RunError::Supervision)?;
    let ended = runtime.block_on(supervise(client, args, report, progress));
    // Does not wait for a name lookup that is still running.
    runtime.shutdown_background();
    ended
}

async fn supervise(
    client: &Client,
    args: &RunArgs,
    report: &dyn Report,
    progress: impl Progress + Send,
) -> Result<Ended, RunError> {
    // Before the first request, so that no signal is lost.
    let mut signals = Signals::listen().map_err(RunError::Supervision)?;
    let acquiring = Acquiring::new(client, args, report, progress);
    let held = match acquire(acquiring, report, &mut signals).await {
        Ok(held) => held?,
        Err(signal) => return Ok(Ended::Signal(signal as i32)),
    };
    report.info(&format!(
        "took token {} until {} (lease {}, fence {})",
        held.token(),
        time(held.expires_at),
        held.lease_id,
        held.fence
    ));
    if held.deadline.at().before(held.plan.stop_before) <= Moment::now() {
        release_quietly(client, &held, held.expires_at, report).await;
        return Err(RunError::NoTime);
    }
    let mut terminal = Terminal::open();
    let foreground = Terminal::is_ours_alone();
    let variables = args.variables(&held);
    let child = match Child::start(&args.program, &args.arguments, &variables, foreground) {
        Ok(child) => child,
        Err(error) => {
            release_quietly(client, &held, held.expires_at, report).await;
            return Err(RunError::Program(ProgramError::from(&error), Some(error)));
        }
    };
    if foreground {
        terminal.give(child.group());
    }
    let guard = Guard::new(args, report, child, terminal, &held);
    let outcome = guard.guard(client, &held, &mut signals).await;
    let ended = conclude(args, report, &outcome);
    tokio::select! {
        () = settle(client, &held, report, &outcome) => {}
        _ = insisted(&mut signals) => {
            let at = time(outcome.expires_at);
            report.warn(&format!("the lease was not released; it ends at its deadline, {at}"));
        }
    }
    Ok(ended)
}

/// Takes a lease. When a signal arrives first, gives up the ticket or the lease and returns the signal.
async fn acquire(
    mut acquiring: Acquiring<'_>,
    report: &dyn Report,
    signals: &mut Signals,
) -> Result<Result<HeldLease, RunError>, Signal> {
    let signal = {
        let held = pin!(acquiring.acquire());
        tokio::select! {
            held = held => return Ok(held),
            signal = ending_signal(signals) => signal,
        }
    };
    report.info(&format!("received {signal} before there was a token"));
    let certain = tokio::select! {
        certain = acquiring.undo() => certain,
        _ = insisted(signals) => false,
    };
    if !certain {
        report.warn(&acquiring.left());
    }
    Err(signal)
}

/// Waits for a signal that ends this process. Stops it on SIGTSTP.
async fn ending_signal(signals: &mut Signals) -> Signal {
    loop {
        match signals.next().await {
            signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT) => {
                return signal;
            }
            signal if also_ends(signal) => return signal,
            Signal::SIGTSTP if !is_orphaned() => {
                // Fails only where stopping is forbidden.
                let _ = raise(Signal::SIGSTOP);
            }
            _ => {}
        }
    }
}

/// Waits for a second signal, which ends the cleanup. Signals that arrive together with the first do not count.
async fn insisted(signals: &mut Signals) -> Signal {
    let from = Moment::now().after(SIGNAL_GAP);
    loop {
        let signal = ending_signal(signals).await;
        if Moment::now() >= from {
            return signal;
        }
    }
}
