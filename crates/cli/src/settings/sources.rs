//! Finds each setting's value: a flag comes before an environment variable, that before the
//! settings file, that before the default.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use super::environment::nearest;
use super::table::{Kind, SETTINGS, Setting, named};

/// The environment variable that names the settings file.
pub const CONFIG_ENV: &str = "TOKEN_MANAGER_CONFIG";

/// The environment variable that changes the port of `listen`.
pub const PORT_ENV: &str = "PORT";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag on the command line.
    Flag,
    /// The environment variable of that name.
    Environment(String),
    /// The settings file at that path.
    File(PathBuf),
    /// Nobody chose it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => write!(f, "flag"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Default => write!(f, "default"),
        }
    }
}

/// What was given for each setting, as text, before anybody has looked at what it says.
#[derive(Debug)]
pub struct SettingSources {
    values: HashMap<&'static str, (String, Origin)>,
    /// The environment's `PORT`: it changes the port of `listen` only.
    pub port: Option<String>,
}

impl SettingSources {
    /// Looks in all places. `flags` are the command line's values by setting, `env` asks the
    /// environment. An empty environment variable counts as not set, unless the setting refuses that.
    ///
    /// # Errors
    ///
    /// When the settings file can't be read or has an unknown key, and when an environment variable is
    /// not UTF-8 or must not be empty.
    pub fn look(
        flags: &HashMap<&'static str, String>,
        config: Option<&Path>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Self> {
        let file = match config {
            Some(path) => Some(path.to_owned()),
            None => env(CONFIG_ENV).map(PathBuf::from),
        };
        if file.as_ref().is_some_and(|path| path.as_os_str().is_empty()) && config.is_none() {
            bail!("the environment variable {CONFIG_ENV} is empty: name a file, or unset it");
        }
        let mut values = match &file {
            Some(path) => read(path)
                .with_context(|| format!("the settings file {} can't be used", path.display()))?,
            None => HashMap::new(),
        };
        for setting in SETTINGS {
            if let Some(flag) = flags.get(setting.name) {
                values.insert(setting.name, (flag.clone(), Origin::Flag));
            } else if let Some((value, name)) = by_env(setting, &env)? {
                values.insert(setting.name, (value, Origin::Environment(name)));
            } else if let Some(default) = setting.default {
                values.entry(setting.name).or_insert((default.to_owned(), Origin::Default));
            }
        }
        let port = text(PORT_ENV, &env)?.filter(|port| !port.is_empty());
        Ok(SettingSources { values, port })
    }

    /// The text given for a setting, if any, and where.
    pub fn get(&self, name: &str) -> Option<(&str, &Origin)> {
        self.values.get(named(name).name).map(|(value, origin)| (value.as_str(), origin))
    }
}

/// What the environment says of a setting, and by which variable.
fn by_env(
    setting: &Setting,
    env: &impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Option<(String, String)>> {
    let mut empty = None;
    for name in setting.envs() {
        match text(&name, env)? {
            Some(value) if value.is_empty() => empty = empty.or(Some(name)),
            Some(value) => return Ok(Some((value, name))),
            None => {}
        }
    }
    match empty.filter(|_| setting.refuses_empty) {
        Some(name) => {
            let default = setting.default.unwrap_or("none");
            bail!(
                "the environment variable {name} is empty: set it to a {}, or unset it to use the \
                 default, {default}",
                setting.value
            )
        }
        None => Ok(None),
    }
}

/// The text of an environment variable, if it is set.
fn text(name: &str, env: &impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Option<String>> {
    // Its bytes may be a password, so they are not shown.
    let not_utf8 = |_| anyhow!("the environment variable {name} is not UTF-8 text: set it again");
    env(name).map(OsString::into_string).transpose().map_err(not_utf8)
}

/// The settings of a TOML file.
fn read(path: &Path) -> anyhow::Result<HashMap<&'static str, (String, Origin)>> {
    let text = std::fs::read_to_string(path)?;
    // The error of the parser quotes the line, which may hold a password.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        anyhow::anyhow!("line {line} is not TOML: {}", error.message())
    })?;
    let origin = Origin::File(path.to_owned());
    let value = |(key, value): (&String, &toml::Value)| {
        let (setting, text) = entry(key, value)?;
        Ok((setting.name, (text, origin.clone())))
    };
    table.iter().map(value).collect()
}

fn entry(key: &str, value: &toml::Value) -> anyhow::Result<(&'static Setting, String)> {
    if let Some(table) = table(value) {
        bail!(no_table(key, table));
    }
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
        let names = SETTINGS.iter().filter(|setting| setting.group.is_some());
        match nearest(key, names.map(|setting| setting.name)) {
            Some(name) => bail!("there is no setting `{key}`; the nearest is `{name}`"),
            None => bail!("there is no setting `{key}`; `token-manager config` lists all"),
        }
    };
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(switch) => switch.to_string(),
        toml::Value::Array(items) if setting.kind == Kind::Several => {
            let items: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            items.with_context(|| format!("`{key}` takes a list of texts"))?.join(",")
        }
        other => bail!("`{key}` can't be a TOML {}", other.type_str()),
    };
    Ok((setting, text))
}

/// The table in a value, if it is one or a list of them.
fn table(value: &toml::Value) -> Option<&toml::Table> {
    value.as_table().or_else(|| value.as_array()?.first()?.as_table())
}

/// What people call a setting in a table of their own.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("address", "listen"),
    ("bind", "listen"),
    ("host", "listen"),
    ("port", "listen"),
    ("level", "log"),
    ("format", "log-format"),
    ("size", "pool-size"),
    ("ttl", "lease"),
    ("url", "database"),
];

/// Says that settings are not in tables, and which settings are probably meant.
fn no_table(key: &str, table: &toml::Table) -> String {
    let names = || SETTINGS.iter().filter(|setting| setting.group.is_some()).map(|s| s.name);
    let meant = |inner: &String| {
        let other = OTHER_NAMES.iter().find(|(other, _)| other == inner).map(|(_, name)| *name);
        let joined = [format!("{key}-{inner}"), format!("{inner}-{key}")];
        names()
            .find(|name| name == inner || joined.iter().any(|joined| joined == name))
            .or(other)
            .or_else(|| nearest(inner, names()))
    };
    let mut meant: Vec<String> =
        table.keys().filter_map(meant).map(|name| format!("`{name} = ...`")).collect();
    meant.dedup();
    let remedy = if meant.is_empty() {
        "`token-manager config` lists all settings".to_owned()
    } else {
        format!("write {} at the top level", meant.join(" and "))
    };
    format!("there is no table [{key}]: settings are not in tables; {remedy}")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn file(text: &str) -> anyhow::Result<SettingSources> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        SettingSources::look(&HashMap::new(), Some(file.path()), |_| None)
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        for (key, nearest) in [("pool_size", "pool-size"), ("leese", "lease"), ("listne", "listen")]
        {
            let error = file(&format!("{key} = 1")).unwrap_err();
            let expected = format!("no setting `{key}`; the nearest is `{nearest}`");
            assert!(format!("{error:#}").contains(&expected), "{error:#}");
        }
    }

    #[test]
    fn a_table_is_refused_with_the_settings_that_are_meant() {
        for (text, remedy) in [
            ("[server]\nlisten = '[::]:4000'", "write `listen = ...` at the top level"),
            ("[server]\nport = 80\nhost = 'a'", "write `listen = ...` at the top level"),
            ("[pool]\nsize = 3\nlease = '1m'", "`lease = ...` and `pool-size = ...`"),
            ("[lease]\nmax = '1h'", "`max-lease = ...`"),
            ("database.url = 'sqlite:a'", "write `database = ...` at"),
            ("[[listen]]\nport = 80", "write `listen = ...` at"),
            ("[server]", "`token-manager config` lists all"),
        ] {
            let error = format!("{:#}", file(text).unwrap_err());
            assert!(error.contains("settings are not in tables"), "{text}: {error}");
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_holds_texts_numbers_switches_and_lists() {
        let found = file(
            "lease = '90s'\npool-size = 7\naccess-log = false\nallowed-host = ['a', 'b.example']",
        )
        .unwrap();
        let value = |name| found.get(name).unwrap().0;
        assert_eq!(value("lease"), "90s");
        assert_eq!(value("pool-size"), "7");
        assert_eq!(value("access-log"), "false");
        assert_eq!(value("allowed-host"), "a,b.example");
        assert_eq!(value("max-queued-requests"), "10000");
    }

    #[test]
    fn the_example_shows_every_default() {
        let example = include_str!("../../../../token-manager.example.toml");
        let uncommented = example.replace("\n#", "\n");
        let lines = uncommented.lines().filter(|line| line.contains(" = "));
        let found = file(&lines.collect::<Vec<_>>().join("\n")).unwrap();
        for setting in SETTINGS.iter().filter(|setting| setting.group.is_some()) {
            let (value, origin) = found.get(setting.name).unwrap();
            assert_ne!(*origin, Origin::Default, "{} is not in the example", setting.name);
            assert_eq!(setting.default.unwrap_or(value), value, "{}", setting.name);
        }
    }

    #[test]
    fn a_broken_file_is_located_but_not_quoted() {
        let error = file("lease = '90s'\ndatabase = 'postgres://u:secret@h").unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("line 2 is not TOML"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(
            file("pool-size = [1]").unwrap_err().chain().any(|e| e.to_string().contains("array"))
        );
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_file() {
        let flags = HashMap::from([("lease", "1s".to_owned())]);
        let env = |name: &str| {
            ["TOKEN_MANAGER_LEASE", "TOKEN_MANAGER_POOL_SIZE", "DATABASE_URL"]
                .contains(&name)
                .then(|| "2".into())
                .or_else(|| (name == "TOKEN_MANAGER_DATABASE").then(OsString::new))
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "lease = '3s'\npool-size = 3\nlog = 'warn'").unwrap();
        let found = SettingSources::look(&flags, Some(file.path()), env).unwrap();
        let env = |name: &str| Origin::Environment(name.to_owned());
        assert_eq!(found.get("lease"), Some(("1s", &Origin::Flag)));
        assert_eq!(found.get("pool-size"), Some(("2", &env("TOKEN_MANAGER_POOL_SIZE"))));
        assert_eq!(found.get("database"), Some(("2", &env("DATABASE_URL"))));
        assert_eq!(found.get("log"), Some(("warn", &Origin::File(file.path().to_owned()))));
        assert_eq!(found.get("log-format"), Some(("text", &Origin::Default)));
        assert_eq!(found.get("update-policy"), Some(("false", &Origin::Default)));
    }

    fn by_environment(variables: &[(&str, &[u8])]) -> anyhow::Result<SettingSources> {
        let env = |name: &str| {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(OsStr::from_bytes(value).to_owned())
        };
        SettingSources::look(&HashMap::new(), None, env)
    }

    #[test]
    fn an_empty_variable_counts_as_not_set_unless_the_default_is_another_place() {
        let found = by_environment(&[
            ("TOKEN_MANAGER_POOL_SIZE", b""),
            ("PORT", b""),
            ("DATABASE_URL", b"x"),
        ]);
        let found = found.unwrap();
        assert_eq!((found.get("pool-size"), found.port.as_ref()), (None, None));
        for name in ["DATABASE_URL", "TOKEN_MANAGER_DATABASE", "TOKEN_MANAGER_CONFIG"] {
            let error = by_environment(&[(name, b"")]).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{name} is empty")) && error.contains("unset"),
                "{error}"
            );
        }
        let one = by_environment(&[("TOKEN_MANAGER_DATABASE", b""), ("DATABASE_URL", b"sqlite:a")]);
        assert_eq!(one.unwrap().get("database").unwrap().0, "sqlite:a");
        let flags = HashMap::from([("database", "sqlite:a".to_owned())]);
        let env = |name: &str| (name == "DATABASE_URL").then(OsString::new);
        assert!(SettingSources::look(&flags, None, env).is_ok(), "a flag comes before it");
    }

    #[test]
    fn a_variable_that_is_no_text_is_refused_and_not_shown() {
        for name in ["DATABASE_URL", "TOKEN_MANAGER_LOG", "PORT"] {
            let error = by_environment(&[(name, b"sesame\xff")]).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is not UTF-8")), "{error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
