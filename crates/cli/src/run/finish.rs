//! What came of a command and its lease: said, told by the exit code, and the lease given back.

use jiff::Timestamp;
use pool::HumanDuration;

use crate::acquire::{GIVING_BACK, give_back};
use crate::api::{Api, Failure};
use crate::exit::Exit;

use super::clock::Moment;
use super::guard::{Outcome, Why};
use super::keep::Over;
use super::lease::Held;
use super::leave::Leave;
use super::order::Order;
use super::tell::{self, Tell};

/// Says what came of the command, where it was ended for its lease.
pub fn report(order: &Order, outcome: &Outcome) -> Leave {
    let program = order.program_shown();
    let by_deadline = outcome.why == Some(Why::TimeUp) && outcome.plan.ends_by_deadline();
    let in_time = if by_deadline {
        "before the deadline".to_owned()
    } else {
        format!("{} after SIGTERM", HumanDuration(outcome.plan.grace))
    };
    let so = if outcome.goes_on {
        format!("but {program}, or something that it started, can't be ended and goes on")
    } else if outcome.killed {
        format!("so {program} was killed, since it had not ended {in_time}")
    } else {
        format!("so {program} was ended")
    };
    match outcome.why {
        None | Some(Why::HungUp) => outcome.how.map_or(Exit::Failed.into(), Leave::from),
        Some(Why::Lost) if !expired(outcome) => {
            let how = tell::ended(&outcome.over.clone().unwrap_or_default());
            tell::complain(&format!("the lease was lost, {so}: {how}"), &[]);
            Exit::LeaseLost.into()
        }
        Some(_) => {
            let (because, hint) = why_not_renewed(order, outcome);
            tell::complain(&format!("the lease's time was up, {so}{because}"), hint);
            Exit::TimeUp.into()
        }
    }
}

/// Gives the lease back, where there is something to give back.
pub async fn settle(api: &Api, held: &Held, tell: Tell, outcome: &Outcome) {
    match outcome.why {
        None | Some(Why::HungUp) => {
            give_back_quietly(api, held, outcome.expires_at, tell).await;
        }
        Some(Why::TimeUp) if !expired(outcome) && !outcome.goes_on => {
            // Past the deadline there is nothing left.
            let left = outcome.deadline.at().since(Moment::now());
            if !left.is_zero() {
                // If that fails, it ends by itself as soon.
                let _ = give_back(api, &held.path(), left.min(GIVING_BACK)).await;
            }
        }
        Some(_) => {}
    }
}

fn expired(outcome: &Outcome) -> bool {
    outcome.over.as_ref().is_some_and(|over| over.reason.as_deref() == Some("expired"))
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
        (format!(": it could not be renewed. {}", tell::sentence(away)), &[])
    } else {
        (String::new(), &[])
    }
}

/// Gives the lease back. That it can't be given back changes nothing for the command.
pub async fn give_back_quietly(api: &Api, held: &Held, expires_at: Timestamp, tell: Tell) {
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
        "the lease could not be given back; it ends by itself at its deadline, {at}. {}",
        tell::sentence(&failure)
    ));
}
