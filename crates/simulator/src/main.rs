//! `simulate`: runs scenarios from seeds or files.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, panic};

use simulator::{Scenario, run, shrink};

const USAGE: &str = "usage: simulate --seed N | --seeds N [--from N] [--minutes M] | --replay FILE  [--trace] [--quick]
  --seed N      runs one seed
  --seeds N     runs N seeds, from --from (0), for at most M minutes
  --replay FILE runs a scenario from a file
  --trace       prints the events of the run
  --quick       does not shrink a failing scenario";

/// Number of runs for shrinking.
const SHRINKING: usize = 400;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str| value(name).and_then(|value| value.parse::<u64>().ok());
    // A failed promise is reported once, below.
    panic::set_hook(Box::new(|_| {}));
    if let Some(file) = value("--replay") {
        let scenario =
            fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str(&text).ok());
        let Some(scenario) = scenario else {
            eprintln!("{file} is not a scenario");
            return ExitCode::from(2);
        };
        return report(&scenario, has("--trace"), true);
    }
    if let Some(seed) = number("--seed") {
        return report(&Scenario::of(seed), has("--trace"), has("--quick"));
    }
    let Some(count) = number("--seeds").or(number("--minutes").map(|_| u64::MAX)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (begun, minutes) = (Instant::now(), number("--minutes"));
    let most = minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let from = number("--from").unwrap_or(0);
    let (mut seeds, mut requests, mut entries) = (0, 0, 0);
    for seed in from..from.saturating_add(count) {
        if most.is_some_and(|most| begun.elapsed() > most) {
            break;
        }
        let scenario = Scenario::of(seed);
        let outcome = run(&scenario);
        seeds += 1;
        requests += outcome.requests;
        entries += outcome.entries;
        if outcome.failure.is_some() {
            println!("after {seeds} seeds and {requests} requests:");
            return report(&scenario, has("--trace"), has("--quick"));
        }
    }
    println!(
        "{seeds} seeds, {requests} requests, {entries} journal entries: no promise was broken"
    );
    ExitCode::SUCCESS
}

fn report(scenario: &Scenario, trace: bool, quick: bool) -> ExitCode {
    let outcome = run(scenario);
    if trace {
        outcome.trace.iter().for_each(|line| println!("{line}"));
    }
    let Some(failure) = outcome.failure else {
        println!("seed {}: {} requests, no promise was broken", scenario.seed, outcome.requests);
        return ExitCode::SUCCESS;
    };
    println!("seed {} breaks a promise\n{failure}", scenario.seed);
    if !quick {
        let small = shrink(scenario, SHRINKING);
        let failure = run(&small).failure.unwrap_or_default();
        println!(
            "\nshrunk to {} steps and {} faults:\n{failure}",
            small.steps.len(),
            small.faults.len()
        );
        println!("\nTo keep it as a test, write this to crates/simulator/seeds/NAME.json:\n");
        println!("{}", serde_json::to_string(&small).unwrap_or_default());
    }
    ExitCode::FAILURE
}
