//! Options that are also accepted before the command: `token-manager --json tokens`.

use std::ffi::OsString;

/// The options, and whether each takes a value.
pub const LEADING: [(&str, bool); 3] = [("--server", true), ("--json", false), ("--config", true)];

/// Moves options before the command to behind it, where clap expects them, and refuses those that the command
/// does not take.
pub fn behind_the_command(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut rest = arguments.into_iter();
    let mut sorted: Vec<OsString> = rest.next().into_iter().collect();
    let mut leading = Vec::new();
    let mut command = None;
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy().into_owned();
        let name = text.split('=').next().unwrap_or_default();
        let Some((_, takes_value)) = LEADING.iter().find(|(option, _)| *option == name) else {
            command = Some(argument);
            break;
        };
        leading.push(argument);
        if *takes_value && name.len() == text.len() {
            leading.extend(rest.next());
        }
    }
    sorted.extend(command);
    sorted.extend(leading);
    sorted.extend(rest);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_moved_behind_the_command() {
        for (given, moved) in [
            ("tm tokens --limit 2", "tm tokens --limit 2"),
            ("tm --json tokens", "tm tokens --json"),
            ("tm --server u --json tokens --limit 2", "tm tokens --server u --json --limit 2"),
            ("tm --server=u run -u ann -- a --json", "tm run --server=u -u ann -- a --json"),
            ("tm --config f serve", "tm serve --config f"),
            ("tm --help", "tm --help"),
            ("tm --json --version", "tm --version --json"),
            ("tm --server", "tm --server"),
            ("tm", "tm"),
            ("tm --srever u tokens", "tm --srever u tokens"),
        ] {
            let given = given.split(' ').map(OsString::from);
            let moved: Vec<OsString> = moved.split(' ').map(OsString::from).collect();
            assert_eq!(behind_the_command(given), moved);
        }
    }
}
