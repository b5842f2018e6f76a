//! The log: one line an event, on the standard error output.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::settings::Settings;

/// Starts logging as the settings say, but nothing that could hold a token's value or a user's name.
pub fn start(settings: &Settings) {
    let layer = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let layer =
        if settings.log_json { layer.json().flatten_event(true).boxed() } else { layer.boxed() };
    // Below warnings it logs statements with their parameters, and each start's notices.
    let discreet = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_target("tokio_postgres", LevelFilter::WARN);
    registry().with(layer.with_filter(settings.log.clone().and(discreet))).init();
}
