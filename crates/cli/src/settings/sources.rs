//! The value of each setting as text, and its source: a flag comes before an environment variable, then
//! the settings file, then the default.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use pool::PolicyPatch;

use super::environment::nearest;
use super::table::{self, Default, SETTINGS, Setting, named};
use super::value::{Kind, Value};

/// The environment variable that names the settings file.
pub const CONFIG_ENV: &str = "TOKEN_MANAGER_CONFIG";

/// The environment variable that changes the port of `listen`.
pub const PORT_ENV: &str = "PORT";

/// Source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    /// The environment variable with this name.
    Environment(String),
    /// The settings file at this path.
    File(PathBuf),
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

/// The text of each setting and its source, not yet parsed.
#[derive(Debug)]
pub struct SettingSources {
    values: HashMap<&'static str, (String, Origin)>,
    /// The environment variable `PORT`.
    pub port: Option<String>,
}

impl SettingSources {
    /// Reads the settings file and the environment. `flags` are the values of the command line by setting. An
    /// empty environment variable counts as not set, unless the setting refuses that.
    ///
    /// # Errors
    ///
    /// When the settings file can't be read or has an unknown key, and when an environment variable is
    /// not UTF-8 or must not be empty.
    pub fn find(
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
                .with_context(|| format!("can't use the settings file {}", path.display()))?,
            None => HashMap::new(),
        };
        for setting in SETTINGS.iter() {
            if let Some(flag) = flags.get(setting.name) {
                values.insert(setting.name, (flag.clone(), Origin::Flag));
            } else if let Some((value, name)) = by_env(setting, &env)? {
                values.insert(setting.name, (value, Origin::Environment(name)));
            } else if let Default::Value(default) = setting.default {
                values.entry(setting.name).or_insert((default.to_owned(), Origin::Default));
            }
        }
        let port = text(PORT_ENV, &env)?.filter(|port| !port.is_empty());
        Ok(SettingSources { values, port })
    }

    /// The text of a setting and its source.
    pub fn get(&self, name: &str) -> Option<(&str, &Origin)> {
        self.values.get(named(name).name).map(|(value, origin)| (value.as_str(), origin))
    }

    /// The value of a setting.
    ///
    /// # Errors
    ///
    /// When it is not legal.
    pub fn read<T: Value>(&self, name: &str) -> anyhow::Result<T> {
        match self.get(name) {
            Some((text, _)) => {
                T::read(text, named(name).kind).map_err(|why| self.invalid(name, &why))
            }
            None => Ok(T::unset().expect("a setting without a default is optional")),
        }
    }

    /// The fields of the policy that are set.
    ///
    /// # Errors
    ///
    /// When one is not legal.
    pub fn read_policy(&self) -> anyhow::Result<PolicyPatch> {
        let mut patch = PolicyPatch::default();
        for setting in SETTINGS.iter() {
            if let Kind::Policy(field) = setting.kind
                && let Some((text, _)) = self.get(setting.name)
            {
                field.read(text, &mut patch).map_err(|why| self.invalid(setting.name, &why))?;
            }
        }
        Ok(patch)
    }

    /// The error for a value that is not legal, without a secret.
    pub fn invalid(&self, name: &str, why: &str) -> anyhow::Error {
        let setting = named(name);
        let (text, origin) = self.get(name).unwrap_or(("", &Origin::Default));
        let place = match origin {
            Origin::Flag => format!("--{name}"),
            Origin::Environment(variable) => variable.clone(),
            Origin::File(path) => format!("{name} in {}", path.display()),
            Origin::Default => name.to_owned(),
        };
        anyhow!("invalid {place} \"{}\": {why}", setting.kind.shown(text))
    }
}

/// Value of a setting in the environment, and the variable.
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
            let Default::Value(default) = setting.default else { unreachable!("it has a default") };
            bail!(
                "the environment variable {name} is empty: set it to a {}, or unset it to use the \
                 default, {default}",
                setting.kind.placeholder()
            )
        }
        None => Ok(None),
    }
}

/// The text of an environment variable, if it is set.
fn text(name: &str, env: &impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Option<String>> {
    // The bytes may be a password, so they are not shown.
    let not_utf8 = |_| anyhow!("the environment variable {name} is not UTF-8 text: set it again");
    env(name).map(OsString::into_string).transpose().map_err(not_utf8)
}

/// Reads a TOML file.
fn read(path: &Path) -> anyhow::Result<HashMap<&'static str, (String, Origin)>> {
    let text = std::fs::read_to_string(path)?;
    // The parser's error quotes the line, which may contain a password.
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
    if let Some(inner) = inner_table(value) {
        bail!(no_table(key, inner));
    }
    let known = SETTINGS.iter().find(|setting| setting.name == key);
    if let Some(setting) = known.filter(|setting| !setting.is_flag) {
        bail!("`{key}` belongs into a file of its own (`{key}-file`) or into {}", setting.env());
    }
    let Some(setting) = known else {
        match nearest(key, table::shown().map(|setting| setting.name)) {
            Some(name) => bail!("unknown setting `{key}`; did you mean `{name}`?"),
            None => bail!("unknown setting `{key}`; `token-manager config` lists all settings"),
        }
    };
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(switch) => switch.to_string(),
        toml::Value::Array(items) if matches!(setting.kind, Kind::Hosts | Kind::Networks) => {
            let items: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            items.with_context(|| format!("`{key}` takes a list of strings"))?.join(",")
        }
        other => bail!("`{key}` can't be a TOML {}", other.type_str()),
    };
    Ok((setting, text))
}

/// The table in a value, if it is one or a list of them.
fn inner_table(value: &toml::Value) -> Option<&toml::Table> {
    value.as_table().or_else(|| value.as_array()?.first()?.as_table())
}

/// Names of settings in tables of other programs.
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

/// Error for a table, with the settings that were probably meant.
fn no_table(key: &str, inner: &toml::Table) -> String {
    let names = || table::shown().map(|setting| setting.name);
    let meant = |inner: &String| {
        let other = OTHER_NAMES.iter().find(|(other, _)| other == inner).map(|(_, name)| *name);
        let joined = [format!("{key}-{inner}"), format!("{inner}-{key}")];
        names()
            .find(|name| name == inner || joined.iter().any(|joined| joined == name))
            .or(other)
            .or_else(|| nearest(inner, names()))
    };
    let mut meant: Vec<String> =
        inner.keys().filter_map(meant).map(|name| format!("`{name} = ...`")).collect();
    meant.dedup();
    let remedy = if meant.is_empty() {
        "`token-manager config` lists all settings".to_owned()
    } else {
        format!("write {} at the top level", meant.join(" and "))
    };
    format!("unknown table [{key}]: settings are not in tables; {remedy}")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn file(text: &str) -> anyhow::Result<SettingSources> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        SettingSources::find(&HashMap::new(), Some(file.path()), |_| None)
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        for (key, nearest) in [("pool_size", "pool-size"), ("leese", "lease"), ("listne", "listen")]
        {
            let error = file(&format!("{key} = 1")).unwrap_err();
            let expected = format!("unknown setting `{key}`; did you mean `{nearest}`?");
            assert!(format!("{error:#}").contains(&expected), "{error:#}");
        }
    }

    #[test]
    fn a_table_is_refused_with_the_intended_settings() {
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
    fn a_file_has_strings_numbers_switches_and_lists() {
        let found = file(
            "lease = '90s'\npool-size = 7\ntrace-sample = 0.5\naccess-log = false\nallowed-host = ['a', 'b.example']",
        )
        .unwrap();
        let value = |name| found.get(name).unwrap().0;
        assert_eq!(value("lease"), "90s");
        assert_eq!(value("pool-size"), "7");
        assert_eq!(value("access-log"), "false");
        assert_eq!(value("trace-sample"), "0.5");
        assert_eq!(value("allowed-host"), "a,b.example");
        assert_eq!(value("max-queued-requests"), "10000");
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
        let found = SettingSources::find(&flags, Some(file.path()), env).unwrap();
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
        SettingSources::find(&HashMap::new(), None, env)
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
        assert!(SettingSources::find(&flags, None, env).is_ok(), "a flag comes before it");
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_refused_and_not_shown() {
        for name in ["DATABASE_URL", "TOKEN_MANAGER_LOG", "PORT"] {
            let error = by_environment(&[(name, b"sesame\xff")]).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is not UTF-8")), "{error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
