//! The signals that this program is sent, in the order in which they come.

use std::fs;
use std::io;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::descendants::ignored;

/// Those that the command gets to see, too.
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

/// Those that end a program that does not expect them. This one ends the command then.
pub const ALSO_END: [Signal; 5 + cfg!(target_os = "linux") as usize] = [
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGXCPU,
    Signal::SIGIO,
    #[cfg(target_os = "linux")]
    Signal::SIGPWR,
];

/// Whether a signal only says that it is time to end.
pub fn also_ends(signal: Signal) -> bool {
    ALSO_END.contains(&signal)
}

/// Signals as they come.
#[derive(Debug)]
pub struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// Listens from now on. What was ignored already stays so, also for the command: that is how
    /// `nohup` and a shell's `&` protect what they start.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn listen() -> io::Result<Self> {
        let heard = PASSED_ON.into_iter().chain(ALSO_END);
        let heard = heard.filter(|name| !is_ignored(*name));
        // Without the one for children nobody learns how the command ended.
        Signals::of(heard.chain([Signal::SIGCHLD]))
    }

    /// Catches these signals from now on.
    ///
    /// # Errors
    ///
    /// As the system reports them.
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

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Whether this process ignores a signal. False where the system does not say.
pub fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status) & bit(signal) != 0
}

/// The bit that stands for a signal where the system tells of several.
pub const fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}
