//! Generated documents about the settings: the example file, and the table in `docs/operations.md`.

use std::fmt::Write as _;

use super::wrapped;
use crate::settings::table::{self, Default, Setting};
use crate::settings::{Kind, SettingSources, Settings};

const EXAMPLE: &str = "token-manager.example.toml";

const EXAMPLE_HEAD: &str = "\
# Settings of token-manager. Copy this file, change it, and run
#
#     token-manager serve --config token-manager.toml
#
# or name it in TOKEN_MANAGER_CONFIG. Flags and environment variables take precedence over this file.
# `token-manager config` shows the values in effect. Each line shows the default, or an example.
";

/// Settings that a file may have. A secret without a flag belongs into the environment or a file of its own.
fn of_file() -> impl Iterator<Item = &'static Setting> {
    table::shown().filter(|setting| setting.is_flag)
}

fn example() -> String {
    let mut text = EXAMPLE_HEAD.to_owned();
    let mut group = None;
    for setting in of_file() {
        if setting.group != group {
            group = setting.group;
            let _ = write!(text, "\n## {}\n\n", group.unwrap_or_default());
        }
        for line in wrapped(&setting.description()).lines() {
            let _ = writeln!(text, "# {line}");
        }
        let text_of = match setting.default {
            Default::Value(value) | Default::Pool(value) | Default::None(value) => value,
        };
        let value = match setting.kind {
            Kind::Switch | Kind::Count { .. } | Kind::Share => text_of.to_owned(),
            Kind::Hosts | Kind::Networks => format!("[\"{text_of}\"]"),
            _ => format!("\"{text_of}\""),
        };
        let _ = writeln!(text, "#{} = {value}", setting.name);
    }
    text
}

fn table() -> String {
    let mut text = "| setting | default | values | meaning |\n|---|---|---|---|\n".to_owned();
    for setting in table::shown() {
        let default = match setting.default {
            Default::Value(value) => format!("`{value}`"),
            Default::Pool(value) => format!("from the pool; `{value}` if new"),
            Default::None(_) => "none".to_owned(),
        };
        let other =
            setting.other_env.map_or_else(String::new, |env| format!(" Also read from `{env}`."));
        let other = if setting.is_flag {
            other
        } else {
            format!(" Not a flag: only `{}` in the environment.", setting.env())
        };
        let (name, range, help) = (setting.name, setting.kind.range(), setting.help);
        let _ = writeln!(text, "| `{name}` | {default} | {range} | {help}{other} |");
    }
    text
}

#[test]
fn documents_have_every_setting() {
    testbed::document::whole(EXAMPLE, &example());
    testbed::document::generated("docs/operations.md", "settings", &table());
}

#[test]
fn the_example_is_accepted() {
    let example = example();
    let lines: Vec<_> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|line| line.contains(" = ")))
        .filter(|line| !line.starts_with([' ', '#']))
        .collect();
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), lines.join("\n")).expect("written");
    let sources = SettingSources::find(&[].into(), Some(file.path()), |_| None).expect("readable");
    assert_eq!(lines.len(), of_file().count());
    Settings::read(&sources).expect("legal");
}
