//! Generated documents: `docs/cli.md` from the definition of the command line, and those of the settings.

mod settings;

use std::fmt::Write as _;

use clap::{Arg, Args as _, Command};

use crate::args;
use crate::client::access::Access;
use crate::settings::table::SETTINGS;
use crate::term::exit::MEANINGS;

const INTRO: &str = "\
# The command line

<!-- Generated from the definition of the command line: UPDATE_DOCS=1 cargo test -p token-manager reference -->

`token-manager` is one program: the server, commands for its operators, and client commands, which use a server over
HTTP through [the API](api.md).

```sh
token-manager serve                       # in one terminal
token-manager allocate ann                # in another
token-manager watch                       # in a third
```

Each command has `--help`; there are [shell completions](#completions) and [manual pages](#man).

";

const CLIENT: &str = "\
## Client commands

- **Server and user.** `--server URL`, else `TOKEN_MANAGER_SERVER`, else [`config set server`](#config), else
  `http://localhost:4000`. The user of `allocate` and `run`: on the command line, else `TOKEN_MANAGER_USER`, else
  `config set user`.
- **Pool.** `--pool NAME`, else `TOKEN_MANAGER_POOL`, else `config set pool`, else the pool `default`. [pools.md](pools.md) describes
  how to make pools.
- **API key.** The first of: `--key`, `--key-file`, `TOKEN_MANAGER_KEY`, `TOKEN_MANAGER_KEY_FILE`, and the key that
  [`login`](#login) stored for this server. Other users of the machine can read command lines, so prefer any other way
  to `--key`. Files with keys must not be readable for everyone. The key is sent as `Authorization: Bearer` to this
  server only, and over plain HTTP to loopback addresses only, unless `--insecure-http` is given. Messages never show
  it, and [`run`](#run) does not pass it on. [`whoami`](#whoami) shows whose key is in use.
- **TLS.** `--ca-file` for authorities of your own, `--client-cert` and `--client-key` for servers with
  [`tls-client-ca`](operations.md#tls).
- **Passwords.** For a proxy with HTTP authentication, use `https://USER:PASSWORD@HOST`; no API key is sent
  then, but the password may be one. Other users of the machine can read command lines, so put such a URL into the environment or into `config set server -`, which reads the standard
  input and stores it in a file that only you can read. Messages never show passwords.
- **Position of options.** `--server`, `--json` and `--config` are accepted before or after the command.
- **Tokens** are named by number (`17`, as on the dashboard), by id, or by the first 4 or more characters of the id if
  they are unique. With `--pool`, they are named by name or id. Leases are named by their full id.
- **Durations** have a unit: `90s`, `10m`, `8h`, `1h30m`, `7d`, `1500ms`.
- **Waiting.** `allocate --wait` and `run --wait` keep their place in the queue for up to 24 hours, through connection
  losses of up to 15 seconds and restarts of the server. The standard error output shows the position and connection
  errors: on a terminal in one updated line, elsewhere a line per change and every 10 seconds while the server is away;
  `allocate --quiet` shows nothing. A server that was never reached is retried for 3 seconds. A signal gives up the
  place; while the server is away, the command tries this for 2 seconds. [`queue`](#queue) lists all waiting requests.
- **Retries.** A request without a reply is repeated with the same idempotency key, after a random pause and the server's
  `Retry-After`.
- **Times** are relative to the server's clock (`in 80s`, `12s ago`).
- **Tables** fit the terminal: columns are omitted or cut (`…`), ids after 8 characters. Other outputs are complete.
- **`--json`** prints the complete response, and all pages of a list as one list: indented on a terminal, on one line
  elsewhere. Use it in scripts, since the text output may change.
- **Token values** appear only in `allocate`, `show`, `tokens --values` and `export --values`, also with `--json`; `run` passes
  the value to its command. Pools other than `default` show them to holders only, unless `show_values` is `everyone`.
- **Control characters** in names, values and errors are shown as `\\u{1b}` on terminals. In files and pipes,
  `leases --csv` and `allocate --quiet` are exact, and JSON uses equivalent escapes.
- **Limits.** 8 MiB per response, 512 MiB per list, 64 KiB per event; only `leases --csv` is unlimited. Redirects are not
  followed: the error names the URL for `--server`. Links to further pages must lead to the same server.
- **Proxies** as in curl: `http_proxy` (lower case only), `https_proxy`, `all_proxy` with `http://`, `https://` or
  `socks5h://`; `no_proxy` with names, their subdomains, addresses, networks (`10.0.0.0/8`) and `*`. Loopback addresses
  never use a proxy. Errors name the proxy. `serve` sends traces by the same rules.
- **Errors and notes** go to the standard error output: the cause, then remedies after `try:`.
- A closed output pipe (`| head`) is not an error.

";

const CONNECTION: &str = "\
## Options for the connection

Every client command has them.

";

const ENVIRONMENT: [(&str, &str); 14] = [
    ("TOKEN_MANAGER_SERVER", "default server"),
    (
        "TOKEN_MANAGER_KEY, TOKEN_MANAGER_KEY_FILE",
        "API key of the client commands, or a file with it",
    ),
    (
        "TOKEN_MANAGER_CA_FILE, TOKEN_MANAGER_CLIENT_CERT, TOKEN_MANAGER_CLIENT_KEY",
        "files for [TLS](#options-for-the-connection)",
    ),
    ("TOKEN_MANAGER_USER", "default user of `allocate` and `run`"),
    ("TOKEN_MANAGER_POOL", "default pool of the client commands"),
    (
        "XDG_CONFIG_HOME, HOME",
        "place of the files of [`config set`](#config) and [`login`](#login): `$XDG_CONFIG_HOME/token-manager`, else \
         `$HOME/.config/token-manager`",
    ),
    (
        "TOKEN_MANAGER_...",
        "[settings](operations.md#settings): `TOKEN_MANAGER_POOL_SIZE` for `--pool-size`",
    ),
    ("TOKEN_MANAGER_CONFIG", "settings file (TOML)"),
    (
        "CREDENTIALS_DIRECTORY",
        "of systemd; `serve` reads its file `bootstrap-key` as `TOKEN_MANAGER_BOOTSTRAP_KEY_FILE`",
    ),
    ("DATABASE_URL, PORT", "database and port, as other programs name them"),
    (
        "PGPASSWORD, PGPASSFILE, PGHOST, PGHOSTADDR, PGPORT, PGUSER, PGDATABASE, PGSSLMODE, \
         PGSSLROOTCERT, PGSSLNEGOTIATION, PGAPPNAME, PGOPTIONS, PGCONNECT_TIMEOUT, \
         PGTARGETSESSIONATTRS, PGCHANNELBINDING, PGLOADBALANCEHOSTS",
        "defaults for parts that a PostgreSQL URL omits, as for PostgreSQL's own programs. \
         `PGPASSWORD` is also the password for [`import`](#import)",
    ),
    ("http_proxy, https_proxy, all_proxy, no_proxy", "proxies"),
    ("NO_COLOR, CLICOLOR=0, TERM=dumb", "no colours; outside of a terminal output has none anyway"),
    ("CLICOLOR_FORCE=1", "colours everywhere"),
];

const EMPTY_AND_UNKNOWN: &str = "
- An **empty** variable counts as not set. `DATABASE_URL`, `TOKEN_MANAGER_DATABASE`, `TOKEN_MANAGER_CONFIG`,
  `TOKEN_MANAGER_SERVER`, `TOKEN_MANAGER_USER` and `TOKEN_MANAGER_POOL` must not be empty, because the default would be another
  database, file, server, user or pool.
- `run` **sets** `TOKEN_MANAGER_TOKEN` and [others](#run) for its command, and removes those with API keys.
- **Unknown** `TOKEN_MANAGER_...` variables have no effect. Commands that read settings warn about them and suggest the most
  similar variable. Variables that container platforms inject for a service or link named `token-manager`
  (`TOKEN_MANAGER_PORT=tcp://...`, `TOKEN_MANAGER_SERVICE_HOST`) are ignored silently.
- A variable that is **not UTF-8** is refused.
";

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
    text += CLIENT;
    text += CONNECTION;
    text += "| option | |\n|---|---|\n";
    let connection = Access::augment_args(Command::new(""));
    text.extend(connection.get_arguments().map(row));
    text += "\n";
    text += "## Exit codes\n\nThey are stable.\n\n| code | meaning |\n|---|---|\n";
    for (code, meaning) in MEANINGS {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text += "\nOtherwise `run` exits like its command. `serve` exits with 130, 143 or 131 after a second SIGINT, SIGTERM or\nSIGQUIT.\n\n";
    text += "## Environment variables\n\n| variable | meaning |\n|---|---|\n";
    for (name, meaning) in ENVIRONMENT {
        let _ = writeln!(text, "| `{}` | {meaning} |", name.replace(", ", "`, `"));
    }
    text += EMPTY_AND_UNKNOWN;
    for command in commands {
        text += &section(command);
    }
    text
}

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
    for below in command.get_subcommands() {
        text += &subsection(command, below);
    }
    format!("{}\n", text.trim_end())
}

/// The options of a subcommand, besides those of its command. Empty if there are none.
fn subsection(command: &Command, below: &Command) -> String {
    let is_shared = |arg: &Arg| command.get_arguments().any(|of| of.get_id() == arg.get_id());
    let is_own = |arg: &&Arg| !is_shared(arg) && !elsewhere(arg.get_id().as_str());
    let own: Vec<_> = below.get_arguments().filter(is_own).collect();
    if own.iter().all(|arg| arg.is_positional()) {
        return String::new();
    }
    let rows: String = own.into_iter().map(row).collect();
    let long = below.get_long_about().or(below.get_about()).map(ToString::to_string);
    let about = prose(&long.unwrap_or_default());
    let (of, name) = (command.get_name(), below.get_name());
    format!("### {of} {name}\n\n{about}| option | |\n|---|---|\n{rows}\n")
}

/// A table of subcommands.
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
        .filter(|arg| !arg.is_hide_set() && !elsewhere(arg.get_id().as_str()))
        .collect();
    // Commands that take every setting refer to the table of settings.
    let takes_all = args.iter().filter(|arg| settings(arg)).count() > 10;
    let mut text = String::new();
    if takes_all {
        text += "Options: every [setting](operations.md#settings), and:\n\n";
    }
    text += "| option | |\n|---|---|\n";
    let args = args.into_iter().filter(|arg| !(takes_all && settings(arg)));
    text.extend(args.map(row));
    text + "\n"
}

/// Whether an option is described elsewhere for all commands.
fn elsewhere(id: &str) -> bool {
    let connection = Access::augment_args(Command::new(""));
    ["help", "version"].contains(&id) || connection.get_arguments().any(|arg| arg.get_id() == id)
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

/// Converts help to Markdown: indented lines become blocks, other lines paragraphs.
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

/// Formats examples, each after its description.
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

/// Appends the full stop that help omits.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', ':', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Breaks a text into lines of the documents' width.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 120;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("it has a first line");
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
    testbed::document::whole("docs/cli.md", &document());
}
