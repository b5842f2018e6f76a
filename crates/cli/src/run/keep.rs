//! Keeping a lease: renewing it in time, and learning early that it is lost.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use reqwest::Method;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use crate::api::{Api, Failure, News, Problem, Word as Happened, jittered};

use super::clock::Moment;
use super::deadline::{self, Deadline, Said};
use super::lease::{Fate, Held, seconds, timed};
use super::order::Order;

/// How often to look at the lease: the stream of events may be dead, and nobody notice.
const EVERY: Duration = Duration::from_secs(15);

/// How long to wait for an answer to that before asking once more.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait at least after a look that failed.
const LOOKS: Duration = Duration::from_secs(1);

/// How long to wait, by chance a little more or less, before a look after an outage.
const SPREAD: Duration = Duration::from_millis(100);

/// Maximum number of requests of one kind under way. A server that is well answers before there is a
/// second one.
const REQUESTS: usize = 32;

/// How long to ask who has the token now.
const ASKING_WHO: Duration = Duration::from_secs(2);

/// What becomes of the lease, told to whoever guards the command.
#[derive(Debug)]
pub enum Word {
    /// It is known to run until then.
    Until(Deadline),
    /// It was renewed, until then by the server's clock.
    Renewed(Timestamp),
    /// It can't be renewed beyond what it has.
    Limit,
    /// The server did not answer as it should.
    Away(String),
    /// It is over. More is being asked.
    Over,
    /// All there is to know about that. Nothing follows.
    Why(Over),
}

/// What calls for a look at the lease.
#[derive(Debug, Default)]
pub struct Calls {
    /// Something may have been missed.
    pub look: Notify,
    /// The server may have been started anew, also with another policy.
    anew: Notify,
}

/// How a lease ended.
#[derive(Clone, Debug, Default)]
pub struct Over {
    /// Why: `released`, `expired`, `evicted`, `cleared`; None if the server doesn't know it.
    pub reason: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// Who has the token now.
    pub holder: Option<String>,
}

impl From<&Fate> for Over {
    fn from(fate: &Fate) -> Self {
        Over {
            reason: fate.end_reason.clone(),
            at: fate.ended_at,
            holder: fate.current.as_ref().map(|current| current.user.clone()),
        }
    }
}

impl Over {
    /// What a refusal says about it, if it says that the lease is over.
    pub fn told_by(problem: &Problem) -> Option<Self> {
        let text = |name: &str| problem.json.get(name).and_then(|value| value.as_str());
        match problem.code.as_str() {
            "lease-over" => Some(Over {
                reason: text("end_reason").map(str::to_owned),
                at: text("ended_at").and_then(|at| at.parse().ok()),
                holder: None,
            }),
            "unknown-lease" => Some(Over::default()),
            _ => None,
        }
    }
}

/// Keeps a lease as long as it runs.
pub async fn keep(api: &Api, order: &Order, held: &Held, calls: &Calls, words: Sender<Word>) {
    let mut over = tokio::select! {
        over = follow(api, held, calls, &words) => over,
        over = Renewing::new(api, order, held, &words).renew(calls) => over,
    };
    say(&words, Word::Over).await;
    if over.holder.is_none()
        && over.reason.as_deref() == Some("evicted")
        && let Ok(Ok(answer)) = timeout(ASKING_WHO, api.get(&held.path(), &[])).await
        && let Ok(fate) = answer.read::<Fate>()
    {
        over.holder = Over::from(&fate).holder;
    }
    say(&words, Word::Why(over)).await;
}

async fn say(words: &Sender<Word>, word: Word) {
    // Nobody listens any more when the command has ended.
    let _ = words.send(word).await;
}

/// Follows what happens to the token until the lease is over. Asks for a look at the lease whenever
/// something may have been missed.
async fn follow(api: &Api, held: &Held, calls: &Calls, words: &Sender<Word>) -> Over {
    let mut events = api.follow(&[("token_id", &held.token_id.to_string())]);
    loop {
        match events.next().await {
            News::Connected | News::Resync => calls.anew.notify_one(),
            News::Cut(failure) => {
                // Maybe it answers, and only tells nothing.
                calls.anew.notify_one();
                say(words, Word::Away(failure.to_string())).await;
            }
            News::Told(told) if told.lease_id != held.lease_id => {}
            News::Told(told) if told.word == Happened::Ended => {
                return Over { reason: told.reason, at: told.ended_at, holder: None };
            }
            // Maybe by somebody else.
            News::Told(told) if told.word == Happened::Renewed => calls.look.notify_one(),
            News::Told(_) => {}
        }
    }
}

/// What asking the server came to.
enum Came {
    /// The lease runs.
    Runs(Said, Fate),
    Over(Over),
    /// It runs, but not longer than it does.
    Limit,
    Nothing(Failure),
}

/// Requests of one kind. The next one begins while those before are still under way, if they take
/// long; the first answer counts.
#[derive(Default)]
struct Line<'a> {
    /// When the next one begins, if there is to be one.
    at: Option<Moment>,
    under_way: FuturesUnordered<LocalBoxFuture<'a, (Moment, Came)>>,
}

struct Renewing<'a> {
    api: &'a Api,
    order: &'a Order,
    held: &'a Held,
    words: &'a Sender<Word>,
    deadline: Deadline,
    expires_at: Timestamp,
    /// When that was asked which was answered last.
    answered: Moment,
    renewals: Line<'a>,
    looks: Line<'a>,
}

impl<'a> Renewing<'a> {
    fn new(api: &'a Api, order: &'a Order, held: &'a Held, words: &'a Sender<Word>) -> Self {
        let now = Moment::now();
        let mut new = Renewing {
            api,
            order,
            held,
            words,
            deadline: held.deadline,
            expires_at: held.expires_at,
            answered: now,
            renewals: Line::default(),
            looks: Line { at: Some(now.after(EVERY)), ..Line::default() },
        };
        new.renewals.at = order.renew.then(|| deadline::renewal(held.asked, new.until()));
        new
    }

    /// Until when the command may run.
    fn until(&self) -> Moment {
        self.deadline.at().before(self.held.plan.stop_before)
    }

    async fn renew(mut self, calls: &Calls) -> Over {
        loop {
            self.begin().await;
            let due = self.due();
            let (renews, (asked, came)) = tokio::select! {
                () = calls.look.notified() => {
                    self.looks.at = Some(Moment::now());
                    continue;
                }
                () = calls.anew.notified() => {
                    // Many clients may have lost the server in this moment.
                    self.looks.at = Some(Moment::now().after(jittered(SPREAD)));
                    if self.order.renew {
                        self.renewals.at = self.renewals.at.or(self.looks.at);
                    }
                    continue;
                }
                Some(came) = self.renewals.under_way.next() => (true, came),
                Some(came) = self.looks.under_way.next() => (false, came),
                () = due.reached() => continue,
            };
            match came {
                Came::Runs(said, fate) => self.runs(&said, &fate, renews).await,
                Came::Over(over) => return over,
                Came::Limit => {
                    self.renewals.at = None;
                    say(self.words, Word::Limit).await;
                }
                // There was an answer to a later one.
                Came::Nothing(_) if asked <= self.answered => {}
                Came::Nothing(failure) => self.failed(&failure, renews).await,
            }
        }
    }

    /// When the next request begins.
    fn due(&self) -> Moment {
        let now = Moment::now();
        let renewal = self.renewals.at.filter(|_| now < self.until());
        [renewal, self.looks.at].into_iter().flatten().min().unwrap_or(now.after(EVERY))
    }

    /// Begins the requests that are due.
    async fn begin(&mut self) {
        let (now, until) = (Moment::now(), self.until());
        for renews in [true, false] {
            let line = if renews { &mut self.renewals } else { &mut self.looks };
            // When the command is being ended, nothing is renewed any more.
            if line.at.is_none_or(|at| at > now) || (renews && now >= until) {
                continue;
            }
            let before = line.under_way.len();
            if before >= REQUESTS {
                line.at = Some(now.after(LOOKS));
                continue;
            }
            line.under_way.push(Box::pin(ask(self.api, self.held, renews)));
            let mut patience = deadline::patience(now, until);
            if !renews {
                patience = PATIENCE * u32::try_from(before + 1).unwrap_or(1);
            }
            line.at = Some(now.after(patience));
            if before > 0 {
                let failure = self.api.lost("it takes long");
                say(self.words, Word::Away(failure.to_string())).await;
            }
        }
    }

    async fn runs(&mut self, said: &Said, fate: &Fate, renews: bool) {
        self.answered = self.answered.max(said.asked);
        self.deadline = self.deadline.knowing(said);
        self.looks.at = Some(Moment::now().after(EVERY));
        if renews {
            self.renewals.at = Some(deadline::renewal(said.asked, self.until()));
        }
        if std::mem::replace(&mut self.expires_at, fate.expires_at) < fate.expires_at {
            say(self.words, Word::Renewed(fate.expires_at)).await;
        }
        say(self.words, Word::Until(self.deadline)).await;
    }

    async fn failed(&mut self, failure: &Failure, renews: bool) {
        let now = Moment::now();
        let pause = deadline::pause(now, self.until());
        let (line, pause) =
            if renews { (&mut self.renewals, pause) } else { (&mut self.looks, pause.max(LOOKS)) };
        let again = now.after(jittered(pause));
        line.at = Some(line.at.map_or(again, |at| at.min(again)));
        say(self.words, Word::Away(failure.to_string())).await;
    }
}

/// Renews the lease, or only looks at it.
async fn ask(api: &Api, held: &Held, renews: bool) -> (Moment, Came) {
    let path = held.path();
    let (asked, answered, answer) = timed(async {
        if renews {
            api.send(Method::POST, &format!("{path}/renew"), None).await
        } else {
            api.get(&path, &[]).await
        }
    })
    .await;
    let came = match answer.and_then(|answer| answer.read::<Fate>()) {
        Ok(fate) if fate.status == "active" => {
            Came::Runs(Said { asked, answered, left: seconds(fate.expires_in) }, fate)
        }
        Ok(fate) => Came::Over(Over::from(&fate)),
        Err(Failure::Refused(problem)) if problem.code == "renewal-limit" => Came::Limit,
        Err(Failure::Refused(problem)) => match Over::told_by(&problem) {
            Some(over) => Came::Over(over),
            None => Came::Nothing(Failure::Refused(problem)),
        },
        Err(failure) => Came::Nothing(failure),
    };
    (asked, came)
}
