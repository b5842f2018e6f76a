//! `token-manager config`

use std::fmt::Write as _;

use pool::HumanDuration;

use crate::duration;
use crate::settings::table::SETTINGS;
use crate::settings::{Origin, SettingSources, Settings, shown};
use crate::term::print::print;

/// Prints each setting, its value and where it came from, then refuses what is wrong with them.
///
/// # Errors
///
/// As [`Settings::read`], and when the output can't be written.
pub fn show(found: &SettingSources) -> anyhow::Result<()> {
    let settings = Settings::read(found);
    let mut lines = format!("{:<19} {:<32} FROM", "SETTING", "VALUE");
    for setting in SETTINGS.iter().filter(|setting| setting.group.is_some()) {
        let mut value =
            shown(found, setting.name).unwrap_or_else(|| unset(setting.name).to_owned());
        if setting.value == "DURATION"
            && let Ok(duration) = duration::parse(&value)
        {
            value = HumanDuration(duration).to_string();
        }
        let origin = found.get(setting.name).map(|(_, origin)| origin);
        let mut origin = origin.unwrap_or(&Origin::Default).to_string();
        if setting.name == "listen"
            && let Ok(settings) = &settings
        {
            let listen = settings.listen.to_string();
            if found.port.is_some() && listen != value {
                origin += "; port from environment variable PORT";
            }
            value = listen;
        }
        // Writing to a string can't fail.
        let _ = write!(lines, "\n{:<19} {value:<32} {origin}", setting.name);
    }
    print(&lines)?;
    settings.map(drop)
}

/// What it means that a setting has no value.
fn unset(name: &str) -> &'static str {
    match name {
        "pool-size" => "(the pool's; new: 100)",
        "lease" => "(the pool's; new: 2m)",
        "max-lease" => "(the pool's; new: lease)",
        "when-full" => "(the pool's; new: evict-oldest)",
        "min-hold" => "(the pool's; new: 0s)",
        "otlp-endpoint" => "(no traces)",
        "max-per-user" => "(the pool's; new: none)",
        _ => "(none)",
    }
}
