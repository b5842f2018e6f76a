//! Signals that this process receives, in order.

use std::fs;
use std::io;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Signals that are passed on to the command.
const PASSED_ON: [Signal; 9] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGTSTP,
];

/// Signals that end a process by default. They are passed on as SIGTERM.
pub const ALSO_END: [Signal; 5 + cfg!(target_os = "linux") as usize] = [
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGXCPU,
    Signal::SIGIO,
    #[cfg(target_os = "linux")]
    Signal::SIGPWR,
];

/// Returns whether a signal is passed on as SIGTERM.
pub(crate) fn also_ends(signal: Signal) -> bool {
    ALSO_END.contains(&signal)
}

/// Queue of received signals.
#[derive(Debug)]
pub struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// Listens for all signals that matter to a run. Signals that are ignored already stay ignored, also for the
    /// command: that is how `nohup` and a shell's `&` protect what they start.
    ///
    /// # Errors
    ///
    /// The system rejects a handler.
    pub fn listen() -> io::Result<Self> {
        let heard = PASSED_ON.into_iter().chain(ALSO_END);
        let heard = heard.filter(|name| !is_ignored(*name));
        // SIGCHLD tells that the command changed, also if it was ignored before.
        Signals::of(heard.chain([Signal::SIGCHLD]))
    }

    /// Listens for these signals.
    ///
    /// # Errors
    ///
    /// The system rejects a handler.
    pub fn of(names: impl Iterator<Item = Signal>) -> io::Result<Self> {
        let (to, signals) = mpsc::channel(32);
        for name in names {
            let mut stream = signal(SignalKind::from_raw(name as i32))?;
            let to = to.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() && to.send(name).await.is_ok() {}
            });
        }
        Ok(Signals(signals))
    }

    /// Waits for the next signal. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Returns whether this process ignores a signal; false on systems without `/proc`.
#[must_use]
pub fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    has(&status, IGNORED, signal)
}

/// Names of a process's signal masks in `/proc/PID/status`.
pub(crate) const IGNORED: &str = "SigIgn:";
pub(crate) const CAUGHT: &str = "SigCgt:";

/// Returns whether a mask in `/proc/PID/status` has a signal.
pub(crate) fn has(status: &str, mask: &str, signal: Signal) -> bool {
    let bits = status.lines().find_map(|line| line.strip_prefix(mask));
    let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    bits & (1 << (signal as i32 - 1)) != 0
}
