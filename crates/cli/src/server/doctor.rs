//! `token-manager doctor`: looks at everything a server depends on, changes nothing, and says what
//! is wrong and what to do. It may be run while a server runs. Only with `--after-restore` does it
//! write, and only a new epoch.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use pool::HumanDuration;
use store::{Clock as _, DatabaseUrl, EPOCH_GAP, Finding, Level, NewEpoch, SystemClock};

use crate::server::{database, serve};
use crate::settings::environment::Unknown;
use crate::settings::{Origin, SettingSources, Settings, bind};
use crate::term::format::count;
use crate::term::print::say;

/// What has been found so far.
#[derive(Default)]
struct Findings {
    problems: usize,
    warnings: usize,
}

impl Findings {
    fn ok(what: &str, text: impl Display) {
        say(&format!("ok       {what}: {text}"));
    }

    fn warning(&mut self, what: &str, text: impl Display) {
        self.warnings += 1;
        say(&format!("warning  {what}: {text}"));
    }

    fn problem(&mut self, what: &str, text: impl Display) {
        self.problems += 1;
        say(&format!("problem  {what}: {text}"));
    }

    /// An error with its causes, in one line.
    fn error(&mut self, what: &str, error: impl Into<anyhow::Error>) {
        self.problem(what, format!("{:#}", error.into()));
    }

    fn conclude(&self) -> ExitCode {
        let [problems, warnings] =
            [count(self.problems, "problem"), count(self.warnings, "warning")];
        say(&format!("{problems}, {warnings}"));
        ExitCode::from(u8::from(self.problems > 0))
    }
}

/// Prints a line for each thing looked at. The exit code is 1 when there are problems.
pub async fn examine(found: &SettingSources, unknown: &[Unknown], after_restore: bool) -> ExitCode {
    let mut findings = Findings::default();
    for unknown in unknown {
        findings.warning("environment", unknown);
    }
    match Settings::read(found) {
        Ok(settings) => {
            Findings::ok("settings", "every value makes sense; `token-manager config` shows them");
            listening(&settings, &mut findings).await;
            open_files(&settings, &mut findings);
            if after_restore {
                if let Some(log) = left_log(&settings) {
                    findings.problem("after restore", log);
                    return findings.conclude();
                }
                begin_epoch(&settings, &mut findings).await;
            }
            let chosen = !matches!(found.get("database"), None | Some((_, Origin::Default)));
            stored(&settings, chosen, &mut findings).await;
        }
        Err(error) => findings.error("settings", error),
    }
    findings.conclude()
}

async fn listening(settings: &Settings, findings: &mut Findings) {
    let addresses = match serve::addresses(settings).await {
        Ok(addresses) => addresses,
        Err(error) => return findings.error("listen", error),
    };
    if settings.allowed_hosts.is_empty()
        && addresses.iter().any(|address| !address.ip().to_canonical().is_loopback())
    {
        let text = "requests are accepted for localhost and IP addresses only; if clients use a \
                    name, add it by --allowed-host";
        Findings::ok("hosts", text);
    }
    for address in addresses {
        match bind(address) {
            Ok(_) => Findings::ok("listen", format!("{address} is free")),
            Err(error) => {
                findings.warning("listen", format!("{error}; all is well if that is this server"));
            }
        }
    }
}

fn open_files(settings: &Settings, findings: &mut Findings) {
    // Besides connections: those kept in reserve, databases, listeners, the log.
    const OTHERS: u64 = 150;
    let needed = u64::try_from(settings.max_connections).unwrap_or(u64::MAX) + OTHERS;
    match rlimit::getrlimit(rlimit::Resource::NOFILE) {
        Ok((_, hard)) if hard < needed => findings.warning(
            "open files",
            format!(
                "the system allows this user {hard}, {} connections need {needed}: raise the hard \
                 limit, or lower --max-connections",
                settings.max_connections
            ),
        ),
        Ok((_, hard)) => Findings::ok("open files", format!("the system allows {hard}")),
        Err(error) => findings.warning("open files", error),
    }
}

/// What to do about a log beside a SQLite file that no server uses. A backup has none, and another
/// database's would be replayed over it.
fn left_log(settings: &Settings) -> Option<String> {
    let DatabaseUrl::Sqlite(path) = &settings.database else { return None };
    let database = path.canonicalize().ok()?;
    let beside = |suffix| PathBuf::from(format!("{}{suffix}", database.display()));
    let log = beside("-wal");
    let full = fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    let free = File::open(beside(".lock")).map_or(true, |lock| lock.try_lock().is_ok());
    let (file, log) = (database.display(), log.display());
    (full && free).then(|| {
        format!(
            "{log} is not empty, so nothing was done. Where {file} was just restored, that is the log \
             of another database: move it and {file}-shm elsewhere, put the backup in place once more, \
             and run this again. Where a server has used {file} since, and was killed, the log belongs \
             to it: run `token-manager migrate`, which empties it, and this again"
        )
    })
}

async fn begin_epoch(settings: &Settings, findings: &mut Findings) {
    let begun = match database(settings).begin_epoch(settings.allow_clock_behind).await {
        Ok(begun) => begun,
        Err(error) => {
            let begun = match error {
                store::Error::Unknown(_) => {
                    "a new epoch may have begun or not: run this again, which does no harm"
                }
                _ => "no new epoch was begun",
            };
            let error = anyhow!(error).context(begun);
            return findings.error("after restore", error);
        }
    };
    let NewEpoch { epoch, version, fence, gap, used, restored, clock_behind } = begun;
    let in_words = |length: Duration| HumanDuration(Duration::from_secs(length.as_secs()));
    let (used, newest) = (in_words(used), in_words(SystemClock.now().since(restored)));
    let why = if gap == EPOCH_GAP {
        "the least by which they ever are, since they were as high as that already".to_owned()
    } else {
        format!("above all that can have been given in {used}")
    };
    say(&format!(
        "done     after restore: epoch {epoch} begins with version {version}; fences go on above {fence}
         Both were raised by {gap}: {why}.
         So no fence is given twice, and fences, ETags and ids of events from before are known as such.
         The newest change that was restored is {newest} old. Leases that were granted after it are
         forgotten; those that were running then end at their deadline.",
        fence = fence.get()
    ));
    if !clock_behind.is_zero() {
        findings.warning(
            "clock",
            format!(
                "it is {} behind the newest change that was restored, so fences were \
                 raised for the time until that change, and not for what was granted after it: set \
                 it right, and run this again if it was more than a moment",
                HumanDuration(clock_behind)
            ),
        );
    }
}

/// `chosen`: somebody said which database it is.
async fn stored(settings: &Settings, chosen: bool, findings: &mut Findings) {
    let shown = &settings.database_shown;
    if let DatabaseUrl::Sqlite(path) = &settings.database
        && !path.exists()
    {
        let text = format!("{shown} is not there yet; `token-manager serve` makes it");
        return if chosen {
            findings.problem("database", text);
        } else {
            findings.warning("database", text);
        };
    }
    let database = database(settings);
    match database.check(&settings.wanted(), settings.allow_clock_behind).await {
        Ok(found) => {
            let without_rights = found.iter().any(|finding| {
                (finding.level, finding.what.as_str()) == (Level::Problem, "rights")
            });
            for Finding { level, what, text } in found {
                match level {
                    Level::Ok => Findings::ok(&what, text),
                    Level::Warning => findings.warning(&what, text),
                    Level::Problem => findings.problem(&what, text),
                }
            }
            if without_rights {
                return;
            }
        }
        Err(error) => {
            let error = anyhow!(error).context(format!("{shown} can't be examined"));
            return findings.error("database", error);
        }
    }
    match database.describe().await {
        Ok(facts) => {
            Findings::ok("database", format!("{shown} can be read"));
            for (name, value) in facts {
                match advice(&name, &value) {
                    Some(advice) => findings.warning(&name, format!("{value}; {advice}")),
                    None => Findings::ok(&name, value),
                }
            }
        }
        Err(error) => {
            let error = anyhow!(error).context(format!("{shown} can't be examined"));
            return findings.error("database", error);
        }
    }
    match database.audit().await {
        Ok(faults) if faults.is_empty() => {
            Findings::ok("audit", "leases and journal contradict each other nowhere");
        }
        Ok(faults) => {
            for fault in faults {
                findings.problem("audit", fault);
            }
            say("         Stop the servers, keep a copy of the database, and restore a backup.");
        }
        Err(error) => findings.error("audit", error),
    }
}

/// What to do about a fact about the database that is not as it should be.
fn advice(name: &str, value: &str) -> Option<&'static str> {
    let advice = match (name, value) {
        ("synchronous standby", "no") => {
            "if this database fails over to another machine, leases that were acknowledged last may \
             be forgotten: set synchronous_standby_names in PostgreSQL where that matters"
        }
        ("write-ahead log not emptied", _) => {
            "the log is larger than 64 MiB and grows until they end, or until they close their \
             transactions"
        }
        ("disk nearly full", _) => {
            "without space the server can grant and release nothing: make room"
        }
        ("clock behind newest entry by", behind) if behind != "0s" => {
            "the machine's clock was ahead, or was set back: set it right before a server starts, \
             which refuses to when it is more than an hour"
        }
        _ => return None,
    };
    Some(advice)
}
