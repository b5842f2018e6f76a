//! The log: one line per event on the standard error output.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _, stderr};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, error};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt as lines, registry};

use crate::settings::{LogFormat, Settings};
use crate::term::stderr::Lines;
use crate::term::{self, coloured, json};
use crate::traces::{self, Spans};

/// Maximum time that a panic waits for its line to be written: the process may end right after.
const PANIC_FLUSH_LIMIT: Duration = Duration::from_millis(100);

/// Starts the log, without events that could contain a token's value or a user's name. Returns the counter
/// of dropped lines.
///
/// # Errors
///
/// When the system provides no thread or file for the log.
pub fn start(settings: &Settings, spans: Option<Spans>) -> io::Result<Arc<AtomicU64>> {
    // NO_COLOR and TERM=dumb disable colours.
    let colours = stderr().is_terminal() && AutoStream::choice(&stderr()) != ColorChoice::Never;
    let queue = term::stderr::start()?;
    let dropped = queue.dropped();
    let layer = lines::layer().with_writer(Lines(queue)).with_ansi(colours);
    // Internal errors would go to the standard error output directly.
    let layer = layer.log_internal_errors(false);
    let layer = if settings.log_format == LogFormat::Json {
        let format = format().json().flatten_event(true);
        let format = format.with_current_span(false).with_span_list(false);
        layer.fmt_fields(JsonFields::new()).event_format(AsJson(format)).boxed()
    } else {
        layer.event_format(AsText(format().with_ansi(colours))).boxed()
    };
    let discreet = Targets::new()
        .with_default(LevelFilter::TRACE)
        // Below warnings it logs statements with their parameters, and notices at each start.
        .with_target("tokio_postgres", LevelFilter::WARN)
        // Spans are for traces only.
        .with_target(engine::SPANS, LevelFilter::OFF);
    let layer = layer.with_filter(settings.log_filter().and(discreet)).boxed();
    // A list, since a layer that is `None` would keep callsites from being disabled permanently.
    registry().with(spans.into_iter().chain([layer]).collect::<Vec<_>>()).init();
    panic::set_hook(Box::new(log_panic));
    Ok(dropped)
}

/// Logs a panic. Its message may contain data, unless it is a constant of the program.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let text =
        panic.payload().downcast_ref::<&str>().unwrap_or(&"(not shown: it may contain data)");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    let thread = std::thread::current();
    let (thread, backtrace) = (thread.name(), backtrace.as_ref().map(tracing::field::display));
    error!(target: "panic", thread, location, panic = text, backtrace, "internal error");
    term::stderr::flush_for(PANIC_FLUSH_LIMIT);
}

/// Fields of a line that its event lacks: the ids of request and trace.
struct Context {
    request_id: Option<String>,
    trace_id: Option<String>,
}

impl Context {
    fn of(event: &Event<'_>) -> Self {
        let names_request = event.metadata().fields().field("request_id").is_some();
        Context {
            request_id: if names_request { None } else { server::current_request_id() },
            trace_id: traces::current_trace_id(),
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [("request_id", &self.request_id), ("trace_id", &self.trace_id)];
        fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// Formats lines for people.
struct AsText(format::Format);

impl<S, N> FormatEvent<S, N> for AsText
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        // No text of an event may look like another line.
        writer.write_str(&coloured(line.trim_end()).replace('\n', "\n    "))?;
        for (name, value) in Context::of(event).fields() {
            write!(writer, " {name}={value:?}")?;
        }
        writeln!(writer)
    }
}

/// Formats lines for programs: one JSON object each.
struct AsJson(format::Format<Json>);

impl<S, N> FormatEvent<S, N> for AsJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        // Additional fields go before the end of the object.
        let line = json(line.strip_suffix('}').unwrap_or(line));
        writer.write_str(&line)?;
        let mut causes = Causes(Vec::new());
        event.record(&mut causes);
        if !causes.0.is_empty() {
            write!(writer, ",\"causes\":{}", json(&serde_json::json!(causes.0).to_string()))?;
        }
        for (name, value) in Context::of(event).fields() {
            write!(writer, ",\"{name}\":{}", serde_json::json!(value))?;
        }
        writeln!(writer, "}}")
    }
}

/// The causes of an event's error, which the JSON formatter leaves out.
struct Causes(Vec<String>);

impl Visit for Causes {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_error(&mut self, _: &Field, error: &(dyn Error + 'static)) {
        let mut cause = error.source();
        while let Some(error) = cause {
            self.0.push(error.to_string());
            cause = error.source();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;
    use tracing::warn;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_text_of_an_event_controls_a_terminal_or_looks_like_another_line() {
        let odd = "a\r\n2026 INFO b\x1b[2J\u{9b}31m\u{202e}\x7f";
        let written = |json: bool| {
            let written = Written::default();
            let to = written.clone();
            let layer = lines::layer().with_writer(move || to.clone());
            let layer = if json {
                let layer = layer.fmt_fields(JsonFields::new());
                layer.event_format(AsJson(format().json().flatten_event(true))).boxed()
            } else {
                layer.with_ansi(true).event_format(AsText(format().with_ansi(true))).boxed()
            };
            with_default(registry().with(layer), || warn!(error = %odd, path = odd, "{odd}"));
            String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
        };
        let text = anstream::adapter::strip_str(&written(false)).to_string();
        let harmful = |c: char| c != '\n' && crate::term::is_harmful(c);
        assert!(!text.contains(harmful), "{text:?}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("    ")), "{text}");
        assert_eq!(text.matches("\\u{202e}").count(), 3, "{text}");
        let json = written(true);
        assert_eq!(json.lines().count(), 1, "{json}");
        assert!(!json.contains(harmful), "{json:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["path"], odd);
    }
}
