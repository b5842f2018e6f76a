//! `docs/cli.md`, made from the definition of the command line.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command};

use crate::args;
use crate::settings::table::SETTINGS;
use crate::term::exit::MEANINGS;

const INTRO: &str = "\
# The command line

<!-- Made from the definition of the command line. After a change of that: UPDATE_DOCS=1 cargo test -p token-manager reference -->

`token-manager` is one program: the server, the commands that tend its database, and the commands by which people and
scripts use a server. These ask it over HTTP, and can do nothing that [the API](api.md) does not offer.

```sh
token-manager serve                       # in one terminal
token-manager allocate ann                # in another
token-manager watch                       # in a third
```

Each command tells about itself with `--help`. There are [completions](#completions) for shells and [manual pages](#man).

";

const MANNERS: &str = "\
## How commands ask and answer

- **The server** is the one of `--server URL`, else of the environment variable `TOKEN_MANAGER_SERVER`, else of
  [`config set server`](#config), else `http://localhost:4000`. **The user** of `allocate` and `run` is likewise the one on
  the command line, of `TOKEN_MANAGER_USER`, or of `config set user`.
- **Passwords.** Where a proxy in front of the server asks for a user name and a password, they belong into the URL:
  `https://USER:PASSWORD@HOST`. Other users of a machine can read command lines, so give that URL in the environment, or by
  `config set server -`, which reads it from the standard input and keeps it in a file that only you can read. No message
  shows the password.
- **`--server`, `--json` and `--config`** may stand before or after each command that has them, as its `--help` shows.
  Commands that ask a server have `--server` and, except `run`, `--json`; those that read settings have `--config`.
  `config set`, `get`, `unset` and `list` have none of the three, `version` has `--json` only.
- **Tokens** are named by their number (`17`, as on the dashboard), by their id, or by the first 4 or more characters of
  their id, if only one token's id begins like that. A lease is named by its whole id.
- **Durations** are written and read as `90s`, `10m`, `8h`, `1h30m`, `7d` or `1500ms`, always with a unit.
- **Waiting.** `allocate --wait` and `run --wait` keep their place in the queue for up to 24 hours: through lost connections of
  up to 15 seconds, and through restarts of the server. The standard error output shows the position and whether the server
  answers: on a terminal one line that is rewritten, elsewhere a line at the beginning, when the position or the kind of failure
  has changed, and about every 10 seconds while the server is away; nothing with `allocate --quiet`. A server that was never
  reached is tried for 3 seconds. A signal that ends the command gives the place up; while the server is away, it tries this for 2
  seconds. [`queue`](#queue) lists all who wait.
- **Repeating.** A request whose answer was lost is repeated under the same idempotency key, after a pause that differs from client
  to client, so that many clients do not come back at the same moment. A server's `Retry-After` is heeded.
- **Times** are shown relative to the server's clock (`in 80s`, `12s ago`), so this machine's clock does not matter.
- **Tables** fit the terminal: what does not fit is left out, or cut (`…`), ids to their first 8 characters. Elsewhere
  they have everything.
- **`--json`** prints what the server answers with all its members, and the pages of a list as one list: laid out on a
  terminal, on one line elsewhere. Scripts should use it, since the text for people may change.
- **Values of tokens** are printed by `allocate`, `show` and `tokens --values`, and in the JSON of these; `run` gives it to
  its command.
- **Text that others wrote** (names, values, errors of a server) can't control a terminal: control characters are shown as
  `\\u{1b}`. A file or a pipe gets `leases --csv` and `allocate --quiet` to the letter, and JSON with escapes that mean the same.
- **Limits.** An answer larger than 8 MiB, a list larger than 512 MiB and an event larger than 64 KiB are refused. Only
  `leases --csv` is passed on at any length. Redirects are not followed: the error names the address that `--server` may
  need. A list goes on only at the same server.
- **Proxies** are those of curl: `http_proxy` (in lower case only), `https_proxy`, `all_proxy`, each `http://`, `https://` or
  `socks5h://`, and `no_proxy` with names, their subdomains, addresses, networks (`10.0.0.0/8`) and `*`. This machine itself
  (`localhost`, `127.0.0.0/8`, `[::1]`) is never asked by a proxy. Errors name the proxy that was used. `serve` sends traces
  by the same rules.
- **Errors** go to the standard error output: what was wrong, and after `try:` what to do next. So do remarks, such as
  that there are more rows.
- A command whose output nobody reads any more (`| head`) ends without an error.

";

const ENVIRONMENT: [(&str, &str); 10] = [
    ("TOKEN_MANAGER_SERVER", "the server that is asked, where `--server` names none"),
    (
        "TOKEN_MANAGER_USER",
        "the user for whom `allocate` and `run` take a token, where none is named",
    ),
    (
        "XDG_CONFIG_HOME, HOME",
        "where the file of [`config set`](#config) is: `$XDG_CONFIG_HOME/token-manager/client.toml`, else \
         `$HOME/.config/token-manager/client.toml`",
    ),
    (
        "TOKEN_MANAGER_...",
        "the settings of [`serve`](#serve): `--pool-size` is `TOKEN_MANAGER_POOL_SIZE`",
    ),
    ("TOKEN_MANAGER_CONFIG", "a TOML file with settings"),
    ("DATABASE_URL, PORT", "as other programs name the database and the port"),
    (
        "PGPASSWORD, PGPASSFILE, PGHOST, PGHOSTADDR, PGPORT, PGUSER, PGDATABASE, PGSSLMODE, \
         PGSSLROOTCERT, PGSSLNEGOTIATION, PGAPPNAME, PGOPTIONS, PGCONNECT_TIMEOUT, \
         PGTARGETSESSIONATTRS, PGCHANNELBINDING, PGLOADBALANCEHOSTS",
        "for a PostgreSQL database, what its URL leaves open, as for PostgreSQL's own programs. \
         `PGPASSWORD` is also the password for [`import`](#import)",
    ),
    ("http_proxy, https_proxy, all_proxy, no_proxy", "the proxy by which a server is asked"),
    (
        "NO_COLOR, CLICOLOR=0, TERM=dumb",
        "no colours; elsewhere than on a terminal there are none anyway",
    ),
    ("CLICOLOR_FORCE=1", "colours everywhere"),
];

const EMPTY_AND_UNKNOWN: &str = "
- An **empty** variable counts as not set. `DATABASE_URL`, `TOKEN_MANAGER_DATABASE`, `TOKEN_MANAGER_CONFIG`,
  `TOKEN_MANAGER_SERVER` and `TOKEN_MANAGER_USER` are refused when they are empty, because the default would be another
  database, file, server or user.
- **Set by `run`** for its command: `TOKEN_MANAGER_TOKEN` and [others](#run).
- An **unknown** `TOKEN_MANAGER_...` variable has no effect. `serve`, `config`, `doctor` and the commands that tend the
  database warn of it and name the nearest variable that has one. Variables that container platforms inject for a service
  or a link called `token-manager` (`TOKEN_MANAGER_PORT=tcp://...`, `TOKEN_MANAGER_SERVICE_HOST`) are ignored silently.
- A variable that is **not UTF-8** is refused.
";

/// The whole document.
fn document() -> String {
    let mut program = args::command().disable_help_subcommand(true);
    program.build();
    let mut commands: Vec<&Command> = program.get_subcommands().collect();
    commands.sort_by_key(|command| command.get_display_order());
    let mut text = INTRO.to_owned();
    text += "| command | |\n|---|---|\n";
    for command in &commands {
        let name = command.get_name();
        let _ = writeln!(text, "| [`{name}`](#{name}) | {} |", about(command));
    }
    text += "\n";
    text += MANNERS;
    text += "## Exit codes\n\nThey do not change.\n\n| code | |\n|---|---|\n";
    for (code, meaning) in MEANINGS {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text += "\n`run` otherwise ends as its command does. `serve` ends with 130, 143 or 131 when a second SIGINT, SIGTERM or\nSIGQUIT stops it.\n\n";
    text += "## Environment variables\n\n| variable | |\n|---|---|\n";
    for (name, meaning) in ENVIRONMENT {
        let _ = writeln!(text, "| `{}` | {meaning} |", name.replace(", ", "`, `"));
    }
    text += EMPTY_AND_UNKNOWN;
    for command in commands {
        text += &section(command);
    }
    text
}

/// A command's section.
fn section(command: &Command) -> String {
    let mut text = format!("\n## {}\n\n", command.get_name());
    let long = command.get_long_about().or(command.get_about());
    text += &prose(&long.map(ToString::to_string).unwrap_or_default());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n");
    let _ = write!(text, "```\n{usage}\n```\n\n");
    text += &options(command);
    text += &subcommands(command);
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        text += &prose(&after.to_string());
    }
    format!("{}\n", text.trim_end())
}

/// The commands below a command.
fn subcommands(command: &Command) -> String {
    let mut text = String::new();
    for below in command.get_subcommands() {
        let usage = below.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        let _ = writeln!(text, "| `{usage}` | {} |", about(below));
    }
    if text.is_empty() { text } else { format!("| command | |\n|---|---|\n{text}\n") }
}

fn options(command: &Command) -> String {
    let settings = |arg: &Arg| SETTINGS.iter().any(|setting| setting.name == arg.get_id());
    let args: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    // Those that take every setting would all repeat them.
    let repeats =
        command.get_name() != "serve" && args.iter().filter(|arg| settings(arg)).count() > 10;
    let mut text = String::new();
    if repeats {
        text += "It takes every setting of [`serve`](#serve), as an option or otherwise.\n\n";
    }
    let mut heading = None;
    let mut any = false;
    for arg in args.into_iter().filter(|arg| !(repeats && settings(arg))) {
        let own = arg.get_help_heading().filter(|_| command.get_name() == "serve");
        if own != heading || !any {
            if any {
                text += "\n";
            }
            let _ = write!(text, "| {} | |\n|---|---|\n", own.unwrap_or("option"));
            (heading, any) = (own, true);
        }
        text += &row(arg);
    }
    text + "\n"
}

fn row(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ");
    let takes = arg.get_action().takes_values();
    let mut flags: Vec<String> =
        arg.get_short().map(|short| format!("-{short}")).into_iter().collect();
    flags.extend(arg.get_long().map(|long| format!("--{long}")));
    let mut name = if flags.is_empty() { value.clone() } else { flags.join(", ") };
    let optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
    if takes && !flags.is_empty() {
        let [before, after] = if optional { ["[=", "]"] } else { [" ", ""] };
        name = [&name, before, &value, after].concat();
    }
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let choices = arg.get_possible_values();
    if takes && !choices.is_empty() {
        let choices: Vec<_> =
            choices.iter().map(|choice| format!("`{}`", choice.get_name())).collect();
        let _ = write!(help, ": {}", choices.join(", "));
    }
    if let Some(env) = arg.get_env() {
        let _ = write!(help, " [env: {}]", env.to_string_lossy());
    }
    let defaults = arg.get_default_values();
    if takes && !defaults.is_empty() {
        let defaults: Vec<_> = defaults.iter().map(|value| value.to_string_lossy()).collect();
        let _ = write!(help, " [default: {}]", defaults.join(" "));
    }
    format!("| `{name}` | {} |\n", help.replace('|', "\\|"))
}

/// Help as a document has it: what is indented becomes a block, all else paragraphs.
fn prose(help: &str) -> String {
    let mut text = String::new();
    for paragraph in help.split("\n\n") {
        let (block, words): (Vec<&str>, Vec<&str>) =
            paragraph.lines().partition(|line| line.starts_with("  "));
        let words = words.join(" ");
        let examples = words.starts_with("Example");
        if !examples {
            let ended = if block.is_empty() || words.ends_with([':', '.']) { "" } else { ":" };
            text += &(wrapped(&sentence(&(words + ended))) + "\n\n");
        }
        if !block.is_empty() {
            let (language, lines) = if examples {
                ("sh", commented(&block))
            } else {
                ("", block.iter().map(|line| line[2..].to_owned() + "\n").collect())
            };
            let _ = write!(text, "```{language}\n{lines}```\n\n");
        }
    }
    text
}

/// Examples, each below what is said about it.
fn commented(examples: &[&str]) -> String {
    let mut text = String::new();
    let mut lines = examples.iter().peekable();
    while let Some(line) = lines.next() {
        while let Some(about) = lines.next_if(|next| next.starts_with("      ")) {
            let _ = writeln!(text, "# {}", about.trim());
        }
        let _ = writeln!(text, "{}", line.trim());
    }
    text
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// Ended by a full stop, which help leaves out.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', ':', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Broken into lines as the other documents are.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 120;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[test]
fn docs_cli_md_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let document = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document,
        "docs/cli.md is not current: UPDATE_DOCS=1 cargo test -p token-manager reference"
    );
}
