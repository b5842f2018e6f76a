//! Completions and manual pages.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Ended, command, run};

fn printed(arguments: &[&str]) -> String {
    let Ended { code, out, err } = run(&mut command(Path::new("/"), arguments));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
    out
}

/// Output of a program for this input, if it is installed.
fn by(program: &str, arguments: &[&str], input: &str) -> Option<Ended> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    Some(Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[test]
fn completions_are_scripts_that_know_the_commands() {
    for (shell, always) in [("bash", true), ("zsh", false), ("fish", false)] {
        let script = printed(&["completions", shell]);
        for word in ["allocate", "when-full", "reason", "evicted"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
        let checked = by(shell, &["-n"], &script);
        assert!(checked.is_some() || !always, "{shell} is needed");
        if let Some(checked) = checked {
            assert_eq!((checked.code, checked.err.as_str()), (Some(0), ""), "{shell}");
        }
    }
    let wrong = run(&mut command(Path::new("/"), &["completions", "tcsh"]));
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("bash, zsh, fish"), "{wrong:?}");
}

#[test]
fn bash_completes_options_and_their_values() {
    let script = printed(&["completions", "bash"]);
    let complete = |words: &str| {
        let last = words.split(' ').count() - 1;
        let ask = format!(
            "{script}\nCOMP_WORDS=({words}) COMP_CWORD={last}\n_token__manager token-manager \
             \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"\necho \"${{COMPREPLY[*]}}\""
        );
        let told = by("bash", &["--norc"], &ask).unwrap();
        assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{words}");
        told.out.trim_end().to_owned()
    };
    assert_eq!(complete("token-manager hist"), "history");
    assert_eq!(complete("token-manager leases --rea"), "--reason");
    assert_eq!(complete("token-manager leases --reason ev"), "evicted");
    assert_eq!(complete("token-manager run --gra"), "--grace");
}

/// Completes the last word by the script of a shell, against a server or without one.
fn completed(script: &str, words: &str, server: &str) -> Vec<String> {
    let at = words.split(' ').count() - 1;
    let tool = env!("CARGO_BIN_EXE_token-manager");
    let path = Path::new(tool).parent().unwrap().display();
    let ask = format!(
        "PATH={path}:$PATH\nexport TOKEN_MANAGER_SERVER={server}\n{script}\n\
         COMP_WORDS=({words} ) COMP_CWORD={at}\n[[ ${{#COMP_WORDS[@]}} -gt {at} ]] || COMP_WORDS+=('')\n\
         function=$(complete -p token-manager); function=${{function#*-F }}; function=${{function%% *}}\n\
         $function token-manager \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let told = by("bash", &["--norc"], &ask).unwrap();
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{words}");
    told.out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_names_of_pools_and_tokens() {
    let (folder, server) = crate::commands::served(&["--pool-size", "2"]);
    let file = folder.path().join("pools.toml");
    let document = "[pools.staging]\ntokens = [{ name = 'green' }, { name = 'grey' }, { name = 'red' }]\n\
                    [pools.stock]\n[pools.other]\n";
    fs::write(&file, document).unwrap();
    crate::commands::told(&server, &["apply", "-f", file.to_str().unwrap()]);
    let script = printed(&["completions", "bash"]);
    let url = server.url();
    let complete = |words: &str| completed(&script, words, &url);
    for (words, names) in [
        ("token-manager tokens --pool ", &["default", "other", "staging", "stock"][..]),
        ("token-manager tokens --pool st", &["staging", "stock"]),
        ("token-manager tokens --pool = st", &["staging", "stock"]),
        ("token-manager run --user ann --pool ot", &["other"]),
        ("token-manager cordon sta", &["staging"]),
        ("token-manager drain staging gre", &["green", "grey"]),
        ("token-manager uncordon staging ", &["green", "grey", "red"]),
        ("token-manager allocate ann --pool staging --token re", &["red"]),
        ("token-manager show --pool staging gr", &["green", "grey"]),
        ("token-manager history ", &["1", "2"]),
        // Other words are those of the script.
        ("token-manager leases --rea", &["--reason"]),
        ("token-manager leases --reason ev", &["evicted"]),
    ] {
        assert_eq!(complete(words), names, "{words}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (guarded, key) = crate::keys::guarded(&crate::sqlite(folder.path()), &[]);
    let file = folder.path().join("key");
    fs::write(&file, key).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let words = format!("token-manager keys revoke --key-file {} boo", file.display());
    assert_eq!(completed(&script, &words, &guarded.url()), ["bootstrap"]);
    // Without an answer within a second there are no names, and no error.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for server in [silent.as_str(), "http://127.0.0.1:1", "nonsense"] {
        let begun = std::time::Instant::now();
        let names = completed(&script, "token-manager cordon sta", server);
        assert_eq!(names, [""; 0], "{server}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    }
}

#[test]
fn manual_pages_equal_help() {
    let page = printed(&["man"]);
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS", "NOTES"] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section}");
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    assert_eq!(printed(&["man", "--dir", pages.to_str().unwrap()]), "");
    let written = fs::read_dir(&pages).unwrap().count();
    let help = printed(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|name| *name != "help")
        .collect();
    // Subcommands have pages, too.
    let of_config = ["set", "get", "unset", "list"].map(|name| format!("config-{name}"));
    let of_keys = ["create", "list", "show", "rotate", "revoke", "sign-out", "generate"];
    let of_keys = of_keys.map(|name| format!("keys-{name}"));
    let below = [&of_config[..], &of_keys].concat();
    assert!(below.iter().all(|name| pages.join(format!("token-manager-{name}.1")).exists()));
    assert_eq!(written, 1 + commands.len() + below.len());
    for name in commands {
        let page = fs::read_to_string(pages.join(format!("token-manager-{name}.1"))).unwrap();
        assert!(page.contains(&format!("token\\-manager\\-{name}")), "{page}");
        if let Some(shown) = by("groff", &["-man", "-Tutf8", "-ww"], &page) {
            assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{name}");
            assert!(shown.out.contains("Print help"), "{}", shown.out);
        }
    }
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let ended = run(&mut command(Path::new("/"), &["man", "--dir", file.to_str().unwrap()]));
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("can't write the pages") && ended.err.contains("try: "),
        "{ended:?}"
    );
}
