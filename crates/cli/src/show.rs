//! `token-manager config`

use crate::found::Found;
use crate::setting::SETTINGS;
use crate::settings::{Settings, shown};

/// Prints each setting, its value and where it came from, then refuses what is wrong with them.
///
/// # Errors
///
/// As [`Settings::read`].
pub fn show(found: &Found) -> anyhow::Result<()> {
    let settings = Settings::read(found);
    println!("{:<19} {:<32} FROM", "SETTING", "VALUE");
    for setting in SETTINGS.iter().filter(|setting| setting.group.is_some()) {
        let value = shown(found, setting.name).unwrap_or_else(|| match setting.name {
            "pool-size" => "(100 for a new pool)".to_owned(),
            "lease" => "(2m for a new pool)".to_owned(),
            _ => "(none)".to_owned(),
        });
        let mut value = value;
        let mut origin =
            found.get(setting.name).map_or("default".to_owned(), |(_, o)| o.to_string());
        if setting.name == "listen"
            && let Ok(settings) = &settings
        {
            let listen = settings.listen.to_string();
            if found.port.is_some() && listen != value {
                origin += "; port from environment variable PORT";
            }
            value = listen;
        }
        println!("{:<19} {value:<32} {origin}", setting.name);
    }
    settings.map(drop)
}
