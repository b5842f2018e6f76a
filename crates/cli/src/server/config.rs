//! `token-manager config`: shows the settings.

use std::fmt::Write as _;

use crate::settings::table::{self, Default};
use crate::settings::{Origin, SettingSources, Settings};
use crate::term::print::print;

/// Prints each setting, its value and its source, then refuses values that are not legal.
///
/// # Errors
///
/// As [`Settings::read`], and when the output can't be written.
pub fn show(sources: &SettingSources) -> anyhow::Result<()> {
    let settings = Settings::read(sources);
    let width = table::shown().map(|setting| setting.name.len()).max().unwrap_or_default();
    let mut lines = format!("{:<width$} {:<38} FROM", "SETTING", "VALUE");
    for setting in table::shown() {
        let (mut value, mut origin) = match (sources.get(setting.name), setting.default) {
            (Some((text, origin)), _) => (setting.kind.shown(text), origin.to_string()),
            (None, Default::Pool(new)) => {
                (format!("(from the pool; {new} if new)"), Origin::Default.to_string())
            }
            (None, _) => ("(none)".to_owned(), Origin::Default.to_string()),
        };
        if setting.name == "listen"
            && let Ok(settings) = &settings
        {
            let listen = settings.listen.to_string();
            if sources.port.is_some() && listen != value {
                origin += "; port from environment variable PORT";
            }
            value = listen;
        }
        // Writing to a string can't fail.
        let _ = write!(lines, "\n{:<width$} {value:<38} {origin}", setting.name);
    }
    print(&lines)?;
    settings.map(drop)
}
