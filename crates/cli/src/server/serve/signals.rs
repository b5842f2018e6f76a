//! Signals that stop the server, and signals that it only logs.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::watch;
use tracing::{info, warn};

use run::{ALSO_END, Signals, is_ignored};

use crate::term::exit::signal_code;
use crate::term::stderr;

/// Signals that stop the server. A second one ends it at once.
const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// Signals without a meaning for a server, which would end the process by default. The system sends `SIGXFSZ`
/// for a file at its size limit; the failed write is handled where it occurs.
const NOTED: [Signal; 3] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXFSZ];

/// Maximum time for the last log line before the process ends at once.
const LAST_LINE: Duration = Duration::from_millis(100);

/// Resolves when a signal stops the server.
#[derive(Clone)]
pub struct Stop(watch::Receiver<Option<Signal>>);

impl Stop {
    /// Waits for the signal.
    pub async fn signal(&mut self) -> Signal {
        // The sending task lives as long as the process.
        match self.0.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => signal,
            _ => std::future::pending().await,
        }
    }
}

/// Starts a task that handles signals. Catching them also makes them work for process 1, for which the system
/// has no default actions. The receiver gets a message for each `SIGHUP`, if something `reloads` then.
///
/// # Errors
///
/// As the system reports them.
pub fn listen(reloads: bool) -> io::Result<(Stop, watch::Receiver<()>)> {
    // `nohup` starts programs with `SIGHUP` ignored; it stays ignored.
    let hang_up = (!is_ignored(Signal::SIGHUP)).then_some(Signal::SIGHUP);
    let caught = STOP.into_iter().chain(NOTED).chain(ALSO_END).chain(hang_up);
    let signals = Signals::of(caught)?;
    // A terminal can't be opened after it has hung up.
    let has_terminal = File::open("/dev/tty").is_ok();
    let (stop, stops) = watch::channel(None);
    let (hang_up, hang_ups) = watch::channel(());
    let hang_up = reloads.then_some(hang_up);
    tokio::spawn(handle(signals, has_terminal, stop, hang_up));
    Ok((Stop(stops), hang_ups))
}

async fn handle(
    mut signals: Signals,
    has_terminal: bool,
    stop: watch::Sender<Option<Signal>>,
    hang_up: Option<watch::Sender<()>>,
) {
    loop {
        let signal = signals.next().await;
        let name = signal.as_str();
        if NOTED.contains(&signal) {
            info!(signal = name, "signal ignored");
        } else if let (Signal::SIGHUP, false, Some(hang_up)) = (signal, has_terminal, &hang_up) {
            info!(
                signal = name,
                "reading the TLS certificate again; other settings are read at start only"
            );
            hang_up.send_replace(());
        } else if signal == Signal::SIGHUP && !has_terminal {
            info!(signal = name, "signal ignored; settings are read at start only");
        } else if stop.borrow().is_none() {
            stop.send_replace(Some(signal));
        } else if STOP.contains(&signal) {
            warn!(signal = name, "second stop signal; exiting at once");
            stderr::flush_for(LAST_LINE);
            std::process::exit(signal_code(signal as i32).into());
        }
    }
}
