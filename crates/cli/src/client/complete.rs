//! Names of pools, tokens and API keys for the completions of shells: the scripts call this program with the words of the
//! command line. It prints the names that fit, or nothing, and never an error.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, Command};
use client::{Client, DEFAULT_POOL};
use run::env;

use crate::term::output::Out;

use super::access::{Access, CA_FILE};
use super::config;
use super::in_pool::{pool_name, token_name};
use super::keys::key_name;

/// First argument of a call by a script. The next ones are the index of the word to complete, and the words.
pub const CALL: &str = "__complete";

/// Time in which the server has to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of names.
const MOST: usize = 1_000;

/// Answers a script's call; None if the arguments are none.
pub fn answer(program: impl FnOnce() -> Command) -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != CALL {
        return None;
    }
    let at = arguments.next().and_then(|index| index.parse().ok());
    let words: Vec<String> = arguments.collect();
    let asked = at.and_then(|at| Asked::read(&program(), &words, at));
    if let Some(names) = asked.as_ref().and_then(Asked::names) {
        // The shell may have stopped listening.
        let _ = Out::standard().print(&names);
    }
    Some(ExitCode::SUCCESS)
}

/// The names that a word may be.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    names: Names,
    /// The part of the word before the name, as in `--pool=NAME`.
    prefix: String,
    /// The beginning of the name.
    begun: String,
    of: Values,
}

/// What is named.
#[derive(Debug, PartialEq, Eq)]
enum Names {
    Pools,
    TokensOf(String),
    Keys,
}

/// Values on the command line that matter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Values {
    pool: Option<String>,
    server: Option<String>,
    key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl Values {
    fn set(&mut self, id: &str, value: &str) {
        match id {
            "pool" => self.pool = Some(value.to_owned()),
            "server" => self.server = Some(value.to_owned()),
            "key_file" => self.key_file = Some(value.into()),
            "ca_file" => self.ca_file = Some(value.into()),
            _ => {}
        }
    }
}

impl Asked {
    /// Reads the words up to that index; None if the word there is not a name.
    fn read(program: &Command, words: &[String], at: usize) -> Option<Self> {
        let (mut command, mut above) = (program, program);
        let mut values = Values::default();
        let (mut positionals, mut of_keys) = (0, false);
        // The option that takes the next word.
        let mut option: Option<&Arg> = None;
        for word in words.get(1..at).unwrap_or_default().iter().map(String::as_str) {
            if word == "--" {
                return None;
            }
            // bash splits `--pool=NAME` into three words.
            if let Some(arg) = option {
                if word != "=" {
                    values.set(arg.get_id().as_str(), word);
                    option = None;
                }
            } else if let Some((name, value)) =
                word.split_once('=').filter(|_| word.starts_with("--"))
            {
                let arg = of_name(command, name)?;
                values.set(arg.get_id().as_str(), value);
            } else if word.starts_with('-') && word.len() > 1 {
                // Options of a command are known below it, too.
                let known = [command, above, program];
                let arg = known.into_iter().find_map(|command| of_name(command, word));
                option = arg.filter(|arg| arg.get_action().takes_values());
            } else if let Some(below) = command.find_subcommand(word) {
                of_keys |= command.get_name() == "keys";
                (above, command) = (command, below);
            } else {
                let arg = command.get_positionals().nth(positionals);
                values.set(arg.map_or("", |arg| arg.get_id().as_str()), word);
                positionals += 1;
            }
        }
        let word = words.get(at).map_or("", String::as_str);
        let word = if option.is_some() && word == "=" { "" } else { word };
        let (arg, prefix, begun) = match (option, word.split_once('=')) {
            (Some(arg), _) => (arg, "", word),
            (None, Some((name, value))) => (of_name(command, name)?, &word[..=name.len()], value),
            (None, None) => (command.get_positionals().nth(positionals)?, "", word),
        };
        let pool = || {
            let of_environment = || std::env::var(env::POOL).ok();
            let pool = values.pool.clone().or_else(of_environment).or_else(config::pool_if_any);
            pool.unwrap_or_else(|| DEFAULT_POOL.to_owned())
        };
        let names = match (command.get_name(), arg.get_id().as_str()) {
            (_, "pool") => Names::Pools,
            (_, "token") | ("show", "id") => Names::TokensOf(pool()),
            (_, "named") if of_keys => Names::Keys,
            ("audit", "by") => Names::Keys,
            _ => return None,
        };
        let (prefix, begun) = (prefix.to_owned(), begun.to_owned());
        Some(Asked { names, prefix, begun, of: values })
    }

    /// Asks the server for the names, a line each.
    fn names(&self) -> Option<String> {
        let Values { server, key_file, ca_file, .. } = &self.of;
        let given = server.clone().or_else(|| std::env::var(env::SERVER).ok());
        let ca_file = ca_file.clone().or_else(|| std::env::var_os(CA_FILE).map(PathBuf::from));
        let access = Access { key_file: key_file.clone(), ca_file, ..Access::default() };
        let client = access.client(&config::server(given.as_deref()).ok()?).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let named = runtime.block_on(async {
            tokio::time::timeout(TIMEOUT, self.all(&client)).await.ok().flatten()
        });
        runtime.shutdown_background();
        let fitting = named?.into_iter().filter(|name| name.starts_with(&self.begun));
        Some(fitting.flat_map(|name| [self.prefix.clone(), name, "\n".to_owned()]).collect())
    }

    /// All names, without those that could be anything else to a shell.
    async fn all(&self, client: &Client) -> Option<Vec<String>> {
        Some(match &self.names {
            Names::Pools => {
                let page = client.pools(MOST).await.ok()?.read().ok()?;
                page.pools.iter().filter_map(|pool| pool_name(&pool.name).ok()).collect()
            }
            Names::TokensOf(pool) => {
                let pool = pool_name(pool).ok()?;
                let page = client.pool_tokens(&pool, MOST).await.ok()?.read().ok()?;
                page.tokens.iter().filter_map(|token| token_name(&token.name).ok()).collect()
            }
            Names::Keys => {
                let page = client.keys(MOST).await.ok()?.read().ok()?;
                page.keys.iter().filter_map(|key| key_name(&key.name).ok()).collect()
            }
        })
    }
}

/// The option with this name, such as `--pool` or `-u`.
fn of_name<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| match name.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => name
            .strip_prefix('-')
            .is_some_and(|short| arg.get_short().is_some_and(|of_arg| short == of_arg.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Option<Asked> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Asked::read(&crate::args::command(), &words, words.len() - 1)
    }

    /// The pool whose tokens are asked for, `*` for the pools or `keys`; the prefix; and the word.
    fn told(line: &str) -> Option<(String, String, String)> {
        let Asked { names, prefix, begun, .. } = asked(line)?;
        let of = match names {
            Names::Pools => "*".to_owned(),
            Names::TokensOf(pool) => pool,
            Names::Keys => "keys".to_owned(),
        };
        Some((of, prefix, begun))
    }

    #[test]
    fn names_are_asked_for_where_they_belong() {
        for (line, of, prefix, begun) in [
            ("tm tokens --pool ", "*", "", ""),
            ("tm tokens --pool sta", "*", "", "sta"),
            ("tm tokens --pool=sta", "*", "--pool=", "sta"),
            ("tm tokens --pool =", "*", "", ""),
            ("tm tokens --pool = sta", "*", "", "sta"),
            ("tm --server u --json tokens --pool sta", "*", "", "sta"),
            ("tm run -u ann --pool ", "*", "", ""),
            ("tm cordon st", "*", "", "st"),
            ("tm export ", "*", "", ""),
            ("tm cordon staging st", "staging", "", "st"),
            ("tm drain --reason x staging ", "staging", "", ""),
            ("tm uncordon staging ", "staging", "", ""),
            ("tm allocate ann --pool staging --token st", "staging", "", "st"),
            ("tm allocate ann --token=st --pool=x --token=", "x", "--token=", ""),
            ("tm show --pool staging ", "staging", "", ""),
            ("tm history --pool = staging 1", "staging", "", "1"),
            ("tm keys show ", "keys", "", ""),
            ("tm keys rotate --keep-old 1h c", "keys", "", "c"),
            ("tm keys revoke ci", "keys", "", "ci"),
            ("tm keys sign-out ", "keys", "", ""),
            ("tm audit --by=c", "keys", "--by=", "c"),
        ] {
            let expected = [of, prefix, begun].map(str::to_owned);
            assert_eq!(told(line), Some(expected.into()), "{line}");
        }
        assert_eq!(
            asked("tm --server http://x pool --pool ").unwrap().of.server.unwrap(),
            "http://x"
        );
        assert_eq!(
            asked("tm pool --server=http://x --pool ").unwrap().of.server.unwrap(),
            "http://x"
        );
    }

    #[test]
    fn other_words_are_not_names() {
        for line in [
            "tm",
            "tm tok",
            "tm allocate ",
            "tm allocate ann --note ",
            "tm tokens --",
            "tm tokens --limit ",
            "tm cordon staging staging-1 ",
            "tm run --pool a -- --pool ",
            "tm serve --pools ",
            "tm nothing --pool=",
            "tm keys create ",
            "tm keys show ci ",
            "tm keys list ",
        ] {
            assert_eq!(asked(line), None, "{line}");
        }
        assert_eq!(Asked::read(&crate::args::command(), &[], 7), None);
    }
}
