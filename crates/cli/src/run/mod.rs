//! `token-manager run`: a command that runs while its user has a lease, and no longer.
//!
//! It takes a lease (`lease`), starts the command in a process group of its own (`child`), and
//! guards it (`guard`) while it keeps the lease (`keep`): whichever ends first, the command or the
//! lease, takes the other with it.

mod child;
mod clock;
mod deadline;
mod descendants;
mod guard;
mod keep;
mod lease;
mod order;
mod program;
mod signals;
mod tell;
mod terminal;

use std::io;
use std::pin::pin;
use std::process::ExitCode;

use clap::ArgMatches;
use jiff::Timestamp;
use nix::sys::signal::{Signal, raise};

use crate::api::{Api, Failure, PoolView};
use crate::exit::Exit;

use self::child::{Child, How, exit_code};
use self::clock::Moment;
use self::guard::{Guard, Outcome, Why};
use self::keep::Over;
use self::lease::{Asking, GIVING_BACK, Held, NoLease, give_back};
use self::order::Order;
use self::signals::{Signals, also_ends};
use self::tell::Tell;
use self::terminal::{Terminal, nobody_continues};

pub use self::order::command;

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let code = start(&Order::read(matches));
    tell::finish();
    code
}

fn start(order: &Order) -> ExitCode {
    let tell = Tell { verbose: order.verbose };
    if let Err(exit) = program::check(&order.program) {
        return cannot_start(order, exit, None);
    }
    let api = match Api::at(&order.server) {
        Ok(api) => api,
        Err(failure) => {
            tell::complain(&failure.to_string(), &["--server http://localhost:4000"]);
            return Exit::from(&failure).into();
        }
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

async fn perform(api: &Api, order: &Order, tell: Tell) -> io::Result<ExitCode> {
    // From here on, so that none is lost.
    let mut signals = Signals::listen()?;
    let held = match ask(api, order, tell, &mut signals).await {
        Ok(Ok(held)) => held,
        Ok(Err(none)) => return Ok(no_lease(api, order, &none).await),
        Err(signal) => return Ok(ExitCode::from(exit_code(Some(signal)))),
    };
    tell.verbose(&format!(
        "took token {} until {} (lease {}, fence {})",
        held.token_id,
        tell::time(held.expires_at),
        held.lease_id,
        held.fence
    ));
    if held.deadline.at().before(order.stop_before) <= Moment::now() {
        give_back_quietly(api, &held, held.expires_at, tell).await;
        tell::complain(
            "the lease is so short that --stop-before leaves no time for the command",
            &["a smaller --stop-before, or a larger --lease"],
        );
        return Ok(Exit::Usage.into());
    }
    let variables = [
        ("TOKEN", held.value.clone()),
        ("TOKEN_ID", held.token_id.to_string()),
        ("LEASE_ID", held.lease_id.to_string()),
        ("FENCE", held.fence.to_string()),
        ("EXPIRES_AT", tell::time(held.expires_at)),
    ];
    let terminal = Terminal::open();
    let child = match Child::start(&order.program, &order.arguments, &variables) {
        Ok(child) => child,
        Err(error) => {
            give_back_quietly(api, &held, held.expires_at, tell).await;
            let missing = error.kind() == io::ErrorKind::NotFound;
            let exit = if missing { Exit::NoCommand } else { Exit::CannotRun };
            return Ok(cannot_start(order, exit, Some(&error)));
        }
    };
    let guard = Guard::new(order, tell, child, terminal, &held);
    let outcome = guard.guard(api, &held, &mut signals).await;
    Ok(finish(api, order, &held, tell, &outcome).await)
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
    if !asking.undo().await {
        tell::warn(
            "the server could not be asked whether it had granted a lease; if it had, that ends by \
             itself at its deadline",
        );
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

/// Says why there is no token.
async fn no_lease(api: &Api, order: &Order, none: &NoLease) -> ExitCode {
    match none {
        NoLease::Failed(failure) => refused(api, order, failure).await,
        NoLease::TooShort => {
            tell::complain(
                "the lease is over before the server's answer is here, so there is no token",
                &["a larger --lease"],
            );
            Exit::NoToken.into()
        }
    }
}

async fn refused(api: &Api, order: &Order, failure: &Failure) -> ExitCode {
    let hints: &[&str] = match (failure, failure.code()) {
        (_, Some("pool-full")) if order.wait.is_none() => {
            let pool = api.get("/api/pool", &[]).await.and_then(|pool| pool.read::<PoolView>());
            if pool.is_ok_and(|pool| pool.policy.when_full == "reject") {
                &["again later: this pool lets nobody wait"]
            } else {
                &["--wait 30s, to wait until one is free"]
            }
        }
        (_, Some("pool-full")) => &["a longer --wait"],
        (_, Some("user-limit")) => &["again when one of this user's leases has ended"],
        (Failure::Unreachable { .. }, _) => &[
            "`token-manager serve` starts a server here",
            "--server URL, or the environment variable TOKEN_MANAGER_SERVER, names another",
        ],
        (Failure::Lost { .. }, _) | (_, Some("outcome-unknown" | "timed-out")) => {
            &["again; if a token was taken, it is free again at the lease's deadline"]
        }
        (Failure::Strange { .. }, _) => {
            &["--server URL, or the environment variable TOKEN_MANAGER_SERVER, names the right one"]
        }
        _ => &[],
    };
    tell::complain(&failure.to_string(), hints);
    Exit::from(failure).into()
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

/// Gives the lease back, and says what came of the command.
async fn finish(api: &Api, order: &Order, held: &Held, tell: Tell, outcome: &Outcome) -> ExitCode {
    let program = order.program_shown();
    let over = outcome.over.clone();
    let expired = over.as_ref().is_some_and(|over| over.reason.as_deref() == Some("expired"));
    let grace = humantime::format_duration(order.grace);
    let so = if outcome.goes_on {
        format!("but {program}, or something that it started, can't be ended and goes on")
    } else if outcome.killed {
        format!("so {program} was killed, since it had not ended {grace} after SIGTERM")
    } else {
        format!("so {program} was ended")
    };
    match outcome.why {
        None | Some(Why::HungUp) => {
            give_back_quietly(api, held, outcome.expires_at, tell).await;
            tell.verbose(&format!("{program} ended"));
            ExitCode::from(outcome.how.map_or(Exit::Failed as u8, How::code))
        }
        Some(Why::Lost) if !expired => {
            let how = tell::ended(&over.unwrap_or_default());
            let what = format!("the lease was lost, {so}: {how}");
            tell::complain(&what, &[]);
            Exit::LeaseLost.into()
        }
        Some(_) => {
            // Past the deadline there is nothing to give back.
            let left = outcome.deadline.at().since(Moment::now());
            if !left.is_zero() && !expired && !outcome.goes_on {
                // If that fails, it ends by itself as soon.
                let _ = give_back(api, &held.path(), left.min(GIVING_BACK)).await;
            }
            let (because, hint) = why_not_renewed(order, outcome);
            let what = format!("the lease's time was up, {so}{because}");
            tell::complain(&what, hint);
            Exit::TimeUp.into()
        }
    }
}

/// Why the lease was not renewed, and what may be done about it.
fn why_not_renewed(order: &Order, outcome: &Outcome) -> (String, &'static [&'static str]) {
    if !order.renew {
        (String::new(), &["without --no-renew, if the pool lets leases be renewed"])
    } else if outcome.limit {
        (
            ": the pool's policy lets no lease last longer".to_owned(),
            &["`token-manager serve --max-lease 1h --update-policy`, if the pool is yours"],
        )
    } else if let Some(away) = &outcome.away {
        (format!(": it could not be renewed, since {away}"), &[])
    } else {
        (String::new(), &[])
    }
}

/// Gives the lease back. That it can't be given back changes nothing for the command.
async fn give_back_quietly(api: &Api, held: &Held, expires_at: Timestamp, tell: Tell) {
    let Err(failure) = give_back(api, &held.path(), GIVING_BACK).await else {
        tell.verbose("gave the lease back");
        return;
    };
    if let Failure::Refused(problem) = &failure
        && let Some(over) = Over::told_by(problem)
    {
        if over.reason.as_deref() != Some("expired") {
            let how = tell::ended(&over);
            tell::warn(&format!("the lease was over before the command had ended: {how}"));
        }
        return;
    }
    let at = tell::time(expires_at);
    tell::warn(&format!(
        "the lease could not be given back ({failure}); it ends by itself at its deadline, {at}"
    ));
}
