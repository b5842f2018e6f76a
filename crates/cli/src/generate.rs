//! `token-manager completions` and `man`, generated from the definition of the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches as _, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::output::Out;

#[derive(Debug, Subcommand)]
enum Generate {
    Completions(Completions),
    Man(Man),
}

/// The definitions of both commands.
pub fn commands() -> Vec<Command> {
    Generate::augment_subcommands(Command::new("")).get_subcommands().cloned().collect()
}

/// Whether one of the commands has this name.
pub fn knows(name: &str) -> bool {
    Generate::has_subcommand(name)
}

/// Runs the matched command for a program with this definition.
pub fn perform(matches: &ArgMatches, program: Command) -> ExitCode {
    let done = match Generate::from_arg_matches(matches) {
        Ok(Generate::Completions(completions)) => completions.perform(program),
        Ok(Generate::Man(man)) => man.perform(program),
        Err(error) => return crate::usage(&error),
    };
    done.map_or_else(CliError::print, |()| ExitCode::SUCCESS)
}

/// Looks up names of pools and tokens, at the beginning of the function for bash.
const BASH: &str = "\
    # Names of pools and tokens are those of the server.
    COMPREPLY=($(\"$1\" __complete \"$COMP_CWORD\" \"${COMP_WORDS[@]}\" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -gt 0 ]] && return 0
";

/// The same for zsh.
const ZSH: &str = "\
    # Names of pools and tokens are those of the server.
    local -a names
    names=(${(f)\"$(${words[1]} __complete $((CURRENT - 1)) \"${(@)words}\" 2>/dev/null)\"})
    if (( ${#names} )); then
        compadd -a names
        return
    fi
";

/// The same for fish, behind the script.
const FISH: &str = "
# Names of pools and tokens are those of the server.
function __token_manager_names
    set -l words (commandline -opc)
    $words[1] __complete (count $words) $words (commandline -ct) 2>/dev/null
end
complete -c token-manager -n 'set -g __token_manager_found (__token_manager_names); \
count $__token_manager_found >/dev/null' -f -a '$__token_manager_found'
";

/// Print shell completions
///
/// Names of pools and tokens are looked up on the server, within a second; without an answer there are none.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager completions bash > ~/.local/share/bash-completion/completions/token-manager
  token-manager completions zsh > ~/.zfunc/_token-manager
      with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  token-manager completions fish > ~/.config/fish/completions/token-manager.fish")]
struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

impl Completions {
    fn perform(self, mut program: Command) -> Result<(), CliError> {
        let shell = match self.shell.as_str() {
            "bash" => Shell::Bash,
            "zsh" => Shell::Zsh,
            _ => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut program, "token-manager", &mut script);
        let (function, lookup) = match shell {
            Shell::Bash => ("    COMPREPLY=()\n", BASH),
            Shell::Zsh => ("_token-manager() {\n", ZSH),
            _ => ("", FISH),
        };
        // clap_complete writes the hyphen of a program's name in two ways into a script for bash, which then
        // finds no command.
        let script =
            String::from_utf8_lossy(&script).replace("token__subcmd__manager", "token__manager");
        let script = match script.split_once(function).filter(|_| !function.is_empty()) {
            Some((before, after)) => [before, function, lookup, after].concat(),
            None => script + lookup,
        };
        Ok(Out::standard().bytes(script.as_bytes())?)
    }
}

/// Print the manual page, or write a page for each command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager man | man -l -
      shows the page of the program
  token-manager man --dir ~/.local/share/man/man1
      installs the pages: `man token-manager`, `man token-manager-allocate`")]
struct Man {
    /// Write the page of the program and of each command into this folder
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

impl Man {
    fn perform(self, program: Command) -> Result<(), CliError> {
        let mut command = program.disable_help_subcommand(true);
        command.build();
        let Some(dir) = &self.dir else {
            return Ok(Out::standard().bytes(&page(&command)?)?);
        };
        write(&command, dir).map_err(|error| {
            let what = format!("can't write the pages to {}: {error}", dir.display());
            CliError::new(Exit::Failed, what).hint("another --dir")
        })
    }
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Page::new(command.clone())
        .source(concat!("token-manager ", env!("CARGO_PKG_VERSION")))
        .manual("TokenManager")
        .render(&mut page)?;
    // A more specific heading.
    Ok(String::from_utf8_lossy(&page).replace(".SH EXTRA", ".SH NOTES").into_bytes())
}

fn write(command: &Command, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("token-manager.1"), page(command)?)?;
    write_below(command, "token-manager", dir)
}

/// Writes the pages of subcommands. Each command is named like its page.
fn write_below(command: &Command, name: &str, dir: &Path) -> io::Result<()> {
    for sub in command.get_subcommands() {
        let name = format!("{name}-{}", sub.get_name());
        fs::write(dir.join(format!("{name}.1")), page(&sub.clone().display_name(&name))?)?;
        write_below(sub, &name, dir)?;
    }
    Ok(())
}
