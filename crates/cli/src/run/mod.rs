//! `token-manager run`: a command that runs while its user has a lease, and no longer.
//!
//! It takes a lease (`lease`), starts the command in a process group of its own (`child`), and
//! guards it (`guard`) while it keeps the lease (`keep`): whichever ends first, the command or the
//! lease, takes the other with it.

mod child;
mod clock;
mod deadline;
mod descendants;
mod finish;
mod guard;
mod keep;
mod lease;
mod leave;
mod order;
mod program;
mod signals;
mod stage;
mod tell;
mod terminal;

use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use nix::sys::signal::{Signal, raise};

use crate::acquire::NoLease;
use crate::api::{Api, Failure, SERVER_ENV, USER_ENV, explain};
use crate::exit::Exit;

use self::child::Child;
use self::finish::{give_back_quietly, report, settle};
use self::guard::Guard;
use self::lease::{Asking, Held};
use self::order::Order;
use self::signals::also_ends;
use self::tell::Tell;
use self::terminal::{Terminal, nobody_continues};

pub use self::child::exit_code;
pub use self::clock::Moment;
pub use self::leave::Leave;
pub use self::order::{VARIABLES, command};
pub use self::signals::{ALSO_END, Signals, is_ignored};
pub use self::stage::perform as stage;

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let leave = match Order::read(matches) {
        Ok(order) => start(&order),
        Err(failure) => unusable(&failure),
    };
    tell::finish();
    leave.leave()
}

fn start(order: &Order) -> Leave {
    let tell = Tell { verbose: order.verbose };
    if let Err(exit) = program::check(&order.program) {
        return cannot_start(order, exit, None).into();
    }
    let api = match Api::at(&order.server) {
        Ok(api) => api,
        Err(failure) => return unusable(&failure),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| {
        let ended = runtime.block_on(perform(&api, order, tell));
        // A name that is still being looked up holds nobody back.
        runtime.shutdown_background();
        ended
    });
    ended.unwrap_or_else(|error| {
        tell::complain(&format!("the command can't be guarded: {error}"), &[]);
        Exit::Failed.into()
    })
}

fn unusable(failure: &Failure) -> Leave {
    tell::complain(&failure.to_string(), &texts(&failure.hints()));
    Exit::from(failure).into()
}

async fn perform(api: &Api, order: &Order, tell: Tell) -> io::Result<Leave> {
    // From here on, so that none is lost.
    let mut signals = Signals::listen()?;
    let begun = Moment::now();
    let held = match ask(api, order, tell, &mut signals).await {
        Ok(Ok(held)) => held,
        Ok(Err(none)) => {
            let waited = Moment::now().since(begun);
            return Ok(no_lease(api, order, &none, waited).await.into());
        }
        Err(signal) => return Ok(Leave::By(signal as i32)),
    };
    tell.verbose(&format!(
        "took token {} until {} (lease {}, fence {})",
        held.token_id,
        tell::time(held.expires_at),
        held.lease_id,
        held.fence
    ));
    if held.deadline.at().before(held.plan.stop_before) <= Moment::now() {
        give_back_quietly(api, &held, held.expires_at, tell).await;
        tell::complain(
            "the lease is so short that --grace or --stop-before leaves no time for the command",
            &["less of these, or a larger --lease"],
        );
        return Ok(Exit::Usage.into());
    }
    let variables = [
        (order::TOKEN, held.value.clone()),
        (order::TOKEN_ID, held.token_id.to_string()),
        (order::LEASE_ID, held.lease_id.to_string()),
        (order::FENCE, held.fence.to_string()),
        (order::EXPIRES_AT, tell::time(held.expires_at)),
        // So that the command can ask the same server for the same user.
        (SERVER_ENV, order.server.clone()),
        (USER_ENV, order.user.clone()),
    ];
    let mut terminal = Terminal::open();
    let at_once = Terminal::is_ours_alone();
    let child = match Child::start(&order.program, &order.arguments, &variables) {
        Ok(child) => child,
        Err(error) => {
            give_back_quietly(api, &held, held.expires_at, tell).await;
            let missing = error.kind() == io::ErrorKind::NotFound;
            let exit = if missing { Exit::NoCommand } else { Exit::CannotRun };
            return Ok(cannot_start(order, exit, Some(&error)).into());
        }
    };
    if at_once {
        terminal.give(child.group());
    }
    let guard = Guard::new(order, tell, child, terminal, &held);
    let outcome = guard.guard(api, &held, &mut signals).await;
    let leave = report(order, &outcome);
    tokio::select! {
        () = settle(api, &held, tell, &outcome) => {}
        _ = insisted(&mut signals) => {
            let at = tell::time(outcome.expires_at);
            tell::warn(&format!(
                "the lease was not given back; it ends by itself at its deadline, {at}"
            ));
        }
    }
    Ok(leave)
}

/// Takes a lease. If this program is told to end before there is one, answers by which signal; no
/// lease is left then.
async fn ask(
    api: &Api,
    order: &Order,
    tell: Tell,
    signals: &mut Signals,
) -> Result<Result<Held, NoLease>, Signal> {
    let mut asking = Asking::new(api, order, tell);
    let signal = {
        let answer = pin!(asking.ask());
        tokio::select! {
            answer = answer => return Ok(answer),
            signal = told_to_end(signals) => signal,
        }
    };
    tell.verbose(&format!("told to end by {signal} before there was a token"));
    let certain = tokio::select! {
        certain = asking.undo() => certain,
        _ = insisted(signals) => false,
    };
    if !certain {
        tell::warn(&asking.left());
    }
    Err(signal)
}

/// Waits for a signal that ends, and stops for the one that stops.
async fn told_to_end(signals: &mut Signals) -> Signal {
    loop {
        match signals.next().await {
            signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT) => {
                return signal;
            }
            signal if also_ends(signal) => return signal,
            Signal::SIGTSTP if !nobody_continues() => {
                // Only whoever may not be stopped can't.
                let _ = raise(Signal::SIGSTOP);
            }
            _ => {}
        }
    }
}

/// For how long several signals are taken for one.
const INSISTING: Duration = Duration::from_millis(500);

/// What to do when nobody knows whether a token was taken.
const LOST: &str = "again; if a token was taken, it is free again at the lease's deadline";

/// Waits for somebody who wants this program to end at once, although it is still giving something
/// back. Not for what comes together with the signal by which all began to end.
async fn insisted(signals: &mut Signals) -> Signal {
    let from = Moment::now().after(INSISTING);
    loop {
        let signal = told_to_end(signals).await;
        if Moment::now() >= from {
            return signal;
        }
    }
}

/// Says why there is no token.
async fn no_lease(api: &Api, order: &Order, none: &NoLease, waited: Duration) -> ExitCode {
    match none {
        NoLease::Failed(failure) => refused(api, order, failure, waited).await,
        NoLease::Uncertain(failure) => {
            let last = tell::sentence(failure);
            let what = format!("an answer was lost, and asking again came to nothing. {last}");
            tell::complain(&what, &[LOST]);
            Exit::OutcomeUnknown.into()
        }
        NoLease::TooShort => {
            tell::complain(
                "the lease is over before the server's answer is here, so there is no token",
                &["a larger --lease"],
            );
            Exit::NoToken.into()
        }
    }
}

async fn refused(api: &Api, order: &Order, failure: &Failure, waited: Duration) -> ExitCode {
    let wish = order.wish(String::new());
    let explained = explain(api, failure, &wish, waited).await;
    let (what, hints) = explained.unwrap_or_else(|| {
        let own = match (failure, failure.code()) {
            (_, Some("user-limit")) => Some("again when one of this user's leases has ended"),
            (Failure::Lost { .. }, _) | (_, Some("outcome-unknown" | "timed-out")) => Some(LOST),
            _ => None,
        };
        let hints = own.map(str::to_owned).into_iter().chain(failure.hints()).collect();
        (failure.to_string(), hints)
    });
    tell::complain(&what, &texts(&hints));
    Exit::from(failure).into()
}

fn texts(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

fn cannot_start(order: &Order, exit: Exit, error: Option<&io::Error>) -> ExitCode {
    let program = order.program_shown();
    let because = error.map_or(String::new(), |error| format!(": {error}"));
    if exit == Exit::NoCommand {
        tell::complain(&format!("there is no command {program}{because}"), &[]);
    } else {
        tell::complain(&format!("{program} can't be run{because}"), &[]);
    }
    exit.into()
}
