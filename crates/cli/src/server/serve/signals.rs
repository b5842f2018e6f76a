//! The signals that a server is sent: which of them stop it, and which it only notes.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::log;
use run::{ALSO_END, Signals, is_ignored};

use crate::term::exit::signal_code;

/// Signals by which a person or a service manager stops a program. One that follows ends it at once.
const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// Signals with no meaning for a server. Unless they are caught, they end a process. The system sends
/// `SIGXFSZ` for a file at its size limit; then the write fails, which is enough.
const NOTED: [Signal; 3] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXFSZ];

/// Maximum time for the last log line before the process ends at once.
const LAST_LINE: Duration = Duration::from_millis(100);

/// Tells when a signal stops the server.
#[derive(Clone)]
pub struct Stop(watch::Receiver<Option<Signal>>);

impl Stop {
    /// Returns the signal as soon as there was one.
    pub async fn signal(&mut self) -> Signal {
        // The task that sends it ends with the process.
        match self.0.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => signal,
            _ => std::future::pending().await,
        }
    }
}

/// Listens to signals from now on, on a task of its own. Catching them also makes them work for
/// process 1, for which the system does nothing by itself.
///
/// # Errors
///
/// As the system reports them.
pub fn listen() -> io::Result<Stop> {
    // `nohup` protects a program by a `SIGHUP` that is ignored; it stays so.
    let hang_up = (!is_ignored(Signal::SIGHUP)).then_some(Signal::SIGHUP);
    let caught = STOP.into_iter().chain(NOTED).chain(ALSO_END).chain(hang_up);
    let signals = Signals::of(caught)?;
    // Once it has hung up, a terminal can't be opened any more.
    let has_terminal = File::open("/dev/tty").is_ok();
    let (stop, stops) = watch::channel(None);
    tokio::spawn(obey(signals, has_terminal, stop));
    Ok(Stop(stops))
}

async fn obey(mut signals: Signals, has_terminal: bool, stop: watch::Sender<Option<Signal>>) {
    loop {
        let signal = signals.next().await;
        let name = signal.as_str();
        if NOTED.contains(&signal) {
            info!(signal = name, "signal ignored");
        } else if signal == Signal::SIGHUP && !has_terminal {
            info!(signal = name, "signal ignored: settings are read at start only");
        } else if stop.borrow().is_none() {
            stop.send_replace(Some(signal));
        } else if STOP.contains(&signal) {
            warn!(signal = name, "ending at once: second signal to stop");
            log::flush_for(LAST_LINE);
            std::process::exit(signal_code(signal as i32).into());
        }
    }
}
