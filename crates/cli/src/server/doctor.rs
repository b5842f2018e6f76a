//! `token-manager doctor`: checks everything a server depends on, and prints problems with their remedy. It
//! changes nothing and may run while a server runs. Only `--after-restore` writes: a new epoch.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use pool::HumanDuration;
use server::Tls;
use store::{Clock as _, DatabaseUrl, EPOCH_GAP, Finding, Level, NewEpoch, SystemClock};

use crate::server::{database, serve};
use crate::settings::environment::Unknown;
use crate::settings::{Origin, SettingSources, Settings, bind};
use crate::term::format::count;
use crate::term::print::say;

/// Counts of the printed findings.
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

/// Prints a line for each check. The exit code is 1 if a check found a problem.
pub async fn examine(
    sources: &SettingSources,
    unknown: &[Unknown],
    after_restore: bool,
) -> ExitCode {
    let mut findings = Findings::default();
    for unknown in unknown {
        findings.warning("environment", unknown);
    }
    match Settings::read(sources) {
        Ok(settings) => {
            Findings::ok("settings", "all values are valid; `token-manager config` shows them");
            listening(&settings, &mut findings).await;
            certificate(&settings, &mut findings);
            if let Err(error) = settings.first_key() {
                findings.error("bootstrap key", error);
            }
            open_files(&settings, &mut findings);
            pools(&settings, &mut findings);
            if after_restore {
                if let Some(log) = left_log(&settings) {
                    findings.problem("after restore", log);
                    return findings.conclude();
                }
                begin_epoch(&settings, &mut findings).await;
            }
            let is_default = matches!(sources.get("database"), Some((_, Origin::Default)));
            stored(&settings, is_default, &mut findings).await;
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
    if settings.allowed_host.is_empty()
        && addresses.iter().any(|address| !address.ip().to_canonical().is_loopback())
    {
        let text = "accepted: localhost and IP addresses; if clients use a host name, add it with \
                    --allowed-host";
        Findings::ok("hosts", text);
    }
    for address in addresses {
        match bind(address) {
            Ok(_) => Findings::ok("listen", format!("{address} is available")),
            Err(error) => {
                findings.warning(
                    "listen",
                    format!("{error} (expected if the server is already running)"),
                );
            }
        }
    }
}

/// The pair of certificate and key, and how long the certificate is still valid.
fn certificate(settings: &Settings, findings: &mut Findings) {
    /// Certificates are usually renewed a month before their end.
    const SOON: Duration = Duration::from_hours(14 * 24);
    let Some(files) = settings.tls() else { return };
    let path = files.certificate.display().to_string();
    let expires = match Tls::load(files) {
        Ok(tls) => tls.expires(),
        Err(error) => return findings.error("certificate", error),
    };
    let left = expires.since(SystemClock.now());
    let days = left.as_secs() / (24 * 60 * 60);
    if left.is_zero() {
        findings.problem("certificate", format!("{path} has expired: renew it"));
    } else if left < SOON {
        findings.warning("certificate", format!("{path} expires in {days} days: renew it"));
    } else {
        Findings::ok("certificate", format!("{path} is valid for {days} days"));
    }
}

fn open_files(settings: &Settings, findings: &mut Findings) {
    // Reserved connections, databases, listeners, the log.
    const OTHERS: u64 = 150;
    let needed = u64::try_from(settings.max_connections).unwrap_or(u64::MAX) + OTHERS;
    match rlimit::getrlimit(rlimit::Resource::NOFILE) {
        Ok((_, hard)) if hard < needed => findings.warning(
            "open files",
            format!(
                "the limit is {hard}, but {} connections need {needed}: raise the hard limit, or lower \
                 --max-connections",
                settings.max_connections
            ),
        ),
        Ok((_, hard)) => Findings::ok("open files", format!("the limit is {hard}")),
        Err(error) => findings.warning("open files", error),
    }
}

fn pools(settings: &Settings, findings: &mut Findings) {
    let Some(path) = &settings.pools else { return };
    match serve::pools::plan(path) {
        Ok(plan) => {
            let pools = count(plan.pools.len(), "pool");
            Findings::ok("pools", format!("{} has no mistakes ({pools})", path.display()));
        }
        Err(error) => {
            for mistake in error.to_string().lines() {
                findings.problem("pools", mistake);
            }
        }
    }
}

/// Finds a write-ahead log beside a SQLite file that no server uses. A backup has none; SQLite would replay
/// another database's log over it.
fn left_log(settings: &Settings) -> Option<String> {
    let DatabaseUrl::Sqlite(path) = &settings.database.url else { return None };
    let database = path.canonicalize().ok()?;
    let beside = |suffix| PathBuf::from(format!("{}{suffix}", database.display()));
    let log = beside("-wal");
    let full = fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    let free = File::open(beside(".lock")).map_or(true, |lock| lock.try_lock().is_ok());
    let (file, log) = (database.display(), log.display());
    (full && free).then(|| {
        format!(
            "{log} is not empty. Nothing was changed. If {file} was just restored, the log belongs to \
             another database: move it and {file}-shm elsewhere, restore the backup again, and repeat \
             this command. If a server has used {file} since and was killed, the log belongs to it: run \
             `token-manager migrate`, which empties it, and repeat this command"
        )
    })
}

async fn begin_epoch(settings: &Settings, findings: &mut Findings) {
    let begun = match database(settings).begin_epoch(settings.allow_clock_behind).await {
        Ok(begun) => begun,
        Err(error) => {
            let begun = match error {
                store::Error::Unknown(_) => {
                    "a new epoch may or may not have begun: run this again, it is safe to repeat"
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
        "the minimum; they were already high enough".to_owned()
    } else {
        format!("above every number that {used} of use can have reached")
    };
    say(&format!(
        "done     after restore: epoch {epoch} begins with version {version}; fences continue above {fence}
         Both were raised by {gap}: {why}.
         No fence is granted twice, and older fences, ETags and event ids are recognised as such.
         The newest restored change is {newest} old. Leases granted after it are lost; leases that were
         running then end at their deadline.",
        fence = fence.get()
    ));
    if !clock_behind.is_zero() {
        findings.warning(
            "clock",
            format!(
                "{} behind the newest restored change, so fences were raised for the time until that \
                 change, not for leases granted after it: correct the clock, and run this again if the \
                 difference was more than a few seconds",
                HumanDuration(clock_behind)
            ),
        );
    }
}

/// A missing database is a problem unless its path `is_default`.
async fn stored(settings: &Settings, is_default: bool, findings: &mut Findings) {
    let shown = &settings.database.shown;
    if let DatabaseUrl::Sqlite(path) = &settings.database.url
        && !path.exists()
    {
        let text = format!("{shown} does not exist yet; `token-manager serve` creates it");
        return if is_default {
            findings.warning("database", text);
        } else {
            findings.problem("database", text);
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
            let error = anyhow!(error).context(format!("can't check {shown}"));
            return findings.error("database", error);
        }
    }
    match database.describe().await {
        Ok(facts) => {
            Findings::ok("database", format!("{shown} is readable"));
            for (name, value) in facts {
                match advice(&name, &value) {
                    Some(advice) => findings.warning(&name, format!("{value}; {advice}")),
                    None => Findings::ok(&name, value),
                }
            }
        }
        Err(error) => {
            let error = anyhow!(error).context(format!("can't check {shown}"));
            return findings.error("database", error);
        }
    }
    audit(&*database, findings).await;
}

async fn audit(database: &dyn store::Database, findings: &mut Findings) {
    match database.audit().await {
        Ok(faults) if faults.is_empty() => {
            Findings::ok("audit", "leases and journal are consistent");
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

/// The remedy for a property of the database that needs one.
fn advice(name: &str, value: &str) -> Option<&'static str> {
    let advice = match (name, value) {
        ("synchronous standby", "no") => {
            "a failover to another machine may lose the last acknowledged leases: if that matters, set \
             synchronous_standby_names in PostgreSQL"
        }
        ("write-ahead log not emptied", _) => {
            "the log is larger than 64 MiB and grows until these programs end or close their \
             transactions"
        }
        ("disk nearly full", _) => {
            "without space the server can't grant or release leases: free space"
        }
        ("pools near a limit", _) => {
            "at the limit no pool or token can be added: retire what is not used, or move pools to another \
             database"
        }
        ("clock behind newest entry by", behind) if behind != "0s" => {
            "the machine's clock was ahead, or was set back: correct it; a server refuses to start if the \
             difference is more than an hour"
        }
        _ => return None,
    };
    Some(advice)
}
