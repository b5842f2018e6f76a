//! Finds each setting's value: a flag comes before an environment variable, that before the
//! settings file, that before the default.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::setting::{Kind, SETTINGS, Setting, named};

/// The environment variable that names the settings file.
pub const CONFIG_ENV: &str = "TOKEN_MANAGER_CONFIG";

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
pub struct Found {
    values: HashMap<&'static str, (String, Origin)>,
    /// The environment's `PORT`: it changes the port of `listen` only.
    pub port: Option<String>,
}

impl Found {
    /// Looks in all places. `flags` are the command line's values by setting, `env` asks the
    /// environment; an empty environment variable counts as none.
    ///
    /// # Errors
    ///
    /// When the settings file can't be read or says something that is no setting.
    pub fn look(
        flags: &HashMap<&'static str, String>,
        config: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let file = config.map(Path::to_owned).or_else(|| env(CONFIG_ENV).map(PathBuf::from));
        let mut values = match &file {
            Some(path) => read(path)
                .with_context(|| format!("the settings file {} can't be used", path.display()))?,
            None => HashMap::new(),
        };
        for setting in SETTINGS {
            let names = [Some(setting.env()), setting.other_env.map(str::to_owned)];
            let by_env = names.into_iter().flatten().find_map(|name| Some((env(&name)?, name)));
            if let Some(flag) = flags.get(setting.name) {
                values.insert(setting.name, (flag.clone(), Origin::Flag));
            } else if let Some((value, name)) = by_env {
                values.insert(setting.name, (value, Origin::Environment(name)));
            } else if let Some(default) = setting.default {
                values.entry(setting.name).or_insert((default.to_owned(), Origin::Default));
            }
        }
        Ok(Found { values, port: env("PORT") })
    }

    /// The text given for a setting, if any, and where.
    pub fn get(&self, name: &str) -> Option<(&str, &Origin)> {
        self.values.get(named(name).name).map(|(value, origin)| (value.as_str(), origin))
    }
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
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
        let nearest = SETTINGS.iter().map(|setting| setting.name);
        let nearest = nearest.min_by_key(|name| distance(key, name)).unwrap_or_default();
        bail!("there is no setting `{key}`; the nearest is `{nearest}`");
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

/// How many letters have to be added, removed or replaced to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut costs: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = costs[0];
        costs[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = costs[j + 1];
            costs[j + 1] = replaced.min(diagonal + 1).min(costs[j] + 1);
        }
    }
    costs[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> anyhow::Result<Found> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Found::look(&HashMap::new(), Some(file.path()), |_| None)
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
        assert_eq!(value("mailbox"), "10000");
    }

    #[test]
    fn the_example_shows_every_default() {
        let example = include_str!("../../../token-manager.example.toml");
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
                .then(|| "2".to_owned())
                .or_else(|| (name == "TOKEN_MANAGER_DATABASE").then(String::new))
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "lease = '3s'\npool-size = 3\nlog = 'warn'").unwrap();
        let found = Found::look(&flags, Some(file.path()), env).unwrap();
        let env = |name: &str| Origin::Environment(name.to_owned());
        assert_eq!(found.get("lease"), Some(("1s", &Origin::Flag)));
        assert_eq!(found.get("pool-size"), Some(("2", &env("TOKEN_MANAGER_POOL_SIZE"))));
        assert_eq!(found.get("database"), Some(("2", &env("DATABASE_URL"))));
        assert_eq!(found.get("log"), Some(("warn", &Origin::File(file.path().to_owned()))));
        assert_eq!(found.get("log-format"), Some(("text", &Origin::Default)));
        assert_eq!(found.get("update-policy"), Some(("false", &Origin::Default)));
    }
}
