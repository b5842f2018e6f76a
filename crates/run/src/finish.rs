//! After the command: the report, and the release of the lease.

use client::{Client, Error, Moment, RELEASE_TIMEOUT, release};
use jiff::Timestamp;
use pool::{EndReason, HumanDuration};

use crate::child::CommandEnd;
use crate::guard::{Outcome, StopReason};
use crate::keep::LeaseEnd;
use crate::lease::HeldLease;
use crate::report::{lease_ended, sentence, time};
use crate::{Ended, Report, RunArgs};

/// Returns how the run ended, and reports why the command was stopped if it was.
pub(crate) fn conclude(args: &RunArgs, report: &dyn Report, outcome: &Outcome) -> Ended {
    let program = args.quoted_program();
    let by_deadline = outcome.why == Some(StopReason::TimeUp) && outcome.plan.ends_by_deadline();
    let in_time = if by_deadline {
        "before the deadline".to_owned()
    } else {
        format!("within {} after SIGTERM", HumanDuration(outcome.plan.grace))
    };
    let so = if outcome.goes_on {
        format!("but {program} or one of its descendants can't be stopped and continues")
    } else if outcome.killed {
        format!("so {program} was killed, because it did not end {in_time}")
    } else {
        format!("so {program} was stopped")
    };
    match outcome.why {
        None | Some(StopReason::HungUp) => match outcome.command {
            Some(CommandEnd::Killed(signal)) => Ended::Signal(signal),
            Some(CommandEnd::Exited(code)) => Ended::Exited(code),
            None => Ended::Exited(1),
        },
        Some(StopReason::Lost) if !expired(outcome) => {
            let how = lease_ended(&outcome.lease_end.clone().unwrap_or_default());
            report.error(&format!("the lease was lost, {so}: {how}"), &[]);
            Ended::LeaseLost
        }
        Some(_) => {
            let (because, hints) = why_not_renewed(args, outcome);
            report.error(&format!("the lease reached its deadline, {so}{because}"), hints);
            Ended::TimeUp
        }
    }
}

/// Releases the lease, if it may still run.
pub(crate) async fn settle(
    client: &Client,
    held: &HeldLease,
    report: &dyn Report,
    outcome: &Outcome,
) {
    match outcome.why {
        None | Some(StopReason::HungUp) => {
            release_quietly(client, held, outcome.expires_at, report).await;
        }
        Some(StopReason::TimeUp) if !expired(outcome) && !outcome.goes_on => {
            let left = outcome.deadline.at().since(Moment::now());
            if !left.is_zero() {
                // If it fails, the lease ends at its deadline anyway.
                let _ = release(client, held.lease_id, left.min(RELEASE_TIMEOUT)).await;
            }
        }
        Some(_) => {}
    }
}

fn expired(outcome: &Outcome) -> bool {
    outcome.lease_end.as_ref().is_some_and(|end| end.is(EndReason::Expired))
}

/// Returns why the lease was not renewed, and possible actions.
fn why_not_renewed(args: &RunArgs, outcome: &Outcome) -> (String, &'static [&'static str]) {
    if !args.renew {
        (String::new(), &["without --no-renew, if the pool allows renewals"])
    } else if outcome.limit {
        (
            ": the pool's policy does not allow a longer lease".to_owned(),
            &["`token-manager serve --max-lease 1h --update-policy`, if the pool is yours"],
        )
    } else if let Some(away) = &outcome.away {
        (format!(": it could not be renewed. {}", sentence(away)), &[])
    } else {
        (String::new(), &[])
    }
}

/// Releases the lease. A failure is only reported.
pub(crate) async fn release_quietly(
    client: &Client,
    held: &HeldLease,
    expires_at: Timestamp,
    report: &dyn Report,
) {
    let Err(error) = release(client, held.lease_id, RELEASE_TIMEOUT).await else {
        report.info("released the lease");
        return;
    };
    if let Error::Refused(problem) = &error
        && let Some(end) = LeaseEnd::of_problem(problem)
    {
        if !end.is(EndReason::Expired) {
            let how = lease_ended(&end);
            report.warn(&format!("the lease ended before the command: {how}"));
        }
        return;
    }
    let at = time(expires_at);
    report.warn(&format!(
        "the lease could not be released; it ends at its deadline, {at}. {}",
        sentence(&error)
    ));
}
