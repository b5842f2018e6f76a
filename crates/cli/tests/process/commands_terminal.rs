//! Output on a terminal: the live screen, colours, widths, questions.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::commands::{ask, json, served, text, told};
use crate::commands_bad_server::{FAR, FaultyServer, lease, ok, with};
use crate::harness::{TestServer, command, unprotected};
use crate::sqlite;
use testbed::poll;

/// Sequence that begins a redraw.
const FRAME: &str = "\x1b[?2026h";

/// Sequence that ends a redraw.
const DRAWN: &str = "\x1b[?2026l";

/// Shell commands on a new terminal, by `script` of Debian's bsdutils.
struct Terminal {
    script: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Reads the output to its end.
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Runs commands on a terminal of this size; `$T` is the program.
    fn run(commands: &str, server: &TestServer, (columns, rows): (u16, u16)) -> Self {
        let commands = format!("stty cols {columns} rows {rows}; tty; {commands}");
        let mut script = unprotected("script");
        script.args(["-qec", &commands, "/dev/null"]);
        script.env("T", env!("CARGO_BIN_EXE_token-manager")).env("TERM", "xterm-256color");
        script.env("TOKEN_MANAGER_SERVER", server.url()).env("SHELL", "/bin/sh");
        // Variables that decide about colours: `CI` means that even a dumb terminal shows them.
        for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            script.env_remove(variable);
        }
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut script = script.spawn().unwrap();
        let mut stdout = script.stdout.take().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&shown);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                to.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Terminal { script, shown, reader: Some(reader) }
    }

    /// Output so far.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until the output contains this text.
    fn shows(&self, what: &str) -> String {
        poll(what, || Some(self.shown()).filter(|shown| shown.contains(what)))
    }

    /// Waits for a whole screen that meets the condition; returns its lines without colours.
    fn screen(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        poll(what, || {
            let shown = self.shown();
            let screen = shown.rsplit(FRAME).find_map(|frame| Some(frame.split_once(DRAWN)?.0))?;
            let lines = lines(screen);
            wanted(&lines).then_some(lines)
        })
    }

    /// Changes the window's size.
    fn resize(&self, columns: u16, rows: u16) {
        let shown = self.shown();
        let tty = shown.lines().find(|line| line.starts_with("/dev/")).unwrap().trim();
        let size = ["cols", &columns.to_string(), "rows", &rows.to_string()].map(str::to_owned);
        assert!(Command::new("stty").args(["-F", tty]).args(size).status().unwrap().success());
    }

    fn press(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end; returns the exit code and the output.
    fn end(&mut self) -> (Option<i32>, String) {
        let status = poll("the end", || self.script.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status.code(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell may have ended already; its commands end with the terminal.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// The lines of a drawn screen, without escape sequences. Each begins with where it goes.
fn lines(screen: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for piece in screen.split("\x1b[").skip(1) {
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        let (sequence, rest) = piece.split_at(end + 1);
        if sequence.ends_with('H') {
            lines.push(String::new());
        }
        lines.last_mut().unwrap().push_str(rest);
    }
    lines
}

/// Whether a line has a text in it.
fn has(lines: &[String], what: &str) -> bool {
    lines.iter().any(|line| line.contains(what))
}

#[test]
fn the_live_screen_is_redrawn_in_place_and_leaves_nothing_behind() {
    let (_folder, server) = served(&["--pool-size", "2"]);
    told(&server, &["allocate", "ann"]);
    let commands = "stty -g; $T watch; echo code $?; stty -g";
    let mut terminal = Terminal::run(commands, &server, (100, 24));
    let screen = terminal.screen("ann", |lines| has(lines, "● live") && has(lines, "ann  "));
    assert!(has(&screen, "1 of 2 tokens held, 1 free, 0 waiting"), "{screen:?}");
    assert!(has(&screen, "Since the start: nothing yet"), "{screen:?}");
    let bob = json(&server, &["allocate", "bob\x1b[2J"]);
    told(&server, &["allocate", "cid"]);
    told(&server, &["release", text(&bob, "lease_id")]);
    let screen = terminal.screen("what happened", |lines| {
        has(lines, "3 started") || has(lines, "2 started, 1 released, 1 evicted")
    });
    assert!(has(&screen, "2 started, 1 released, 1 evicted"), "{screen:?}");
    assert!(has(&screen, "released  bob\\u{1b}[2J"), "{screen:?}");
    let held = screen.iter().filter(|line| line.contains(" in "));
    assert_eq!(held.map(|line| &line[..3]).collect::<Vec<_>>(), ["cid"], "{screen:?}");
    terminal.screen("the count", |lines| has(lines, "1 of 2 tokens held"));
    terminal.resize(50, 12);
    let fits = |lines: &[String]| lines.iter().all(|line| line.chars().count() < 50);
    let screen = terminal.screen("a smaller screen", fits);
    assert!(screen.len() <= 12, "{screen:?}");
    assert!(has(&screen, "q quits") && has(&screen, "cid"), "{screen:?}");
    terminal.press("q");
    let (_, shown) = terminal.end();
    assert!(shown.contains("\x1b[?1049h") && shown.contains("\x1b[?25l"), "{shown:?}");
    let (screens, after) = shown.rsplit_once("\x1b[?1049l").unwrap();
    assert!(screens.ends_with("\x1b[?25h"), "the cursor is back");
    let (code, modes) = after.trim().split_once('\n').unwrap();
    assert_eq!(code.trim(), "code 0");
    let before = shown.lines().nth(1).unwrap();
    assert_eq!(modes.trim(), before.trim(), "the terminal is as it was");
}

#[test]
fn the_live_screen_ends_by_ctrl_c_and_by_signals() {
    let (_folder, server) = served(&[]);
    for way in ["\x03", "\x1b", "TERM", "HUP", "INT"] {
        let mut terminal = Terminal::run("echo pid $$; exec $T watch", &server, (80, 24));
        terminal.screen("the screen", |lines| has(lines, "● live"));
        if way.len() > 1 {
            let shown = terminal.shown();
            let pid = shown.lines().find_map(|line| line.strip_prefix("pid ")).unwrap().trim();
            let kill = Command::new("kill").args([&format!("-{way}"), pid]).status();
            assert!(kill.unwrap().success());
        } else {
            terminal.press(way);
        }
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(0), "{way:?}: {shown:?}");
        assert!(shown.contains("\x1b[?25h\x1b[?1049l"), "{way:?}: {shown:?}");
    }
}

#[test]
fn the_live_screen_reports_a_lost_connection_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let start = |arguments: &[&str]| {
        let database = sqlite(folder.path());
        let common = ["serve", "--listen", &free, "--database", &database];
        let server = TestServer::of(&mut command(Path::new("/"), &[&common, arguments].concat()));
        server.url();
        server
    };
    let mut server = start(&["--pool-size", "3"]);
    told(&server, &["allocate", "ann"]);
    let mut terminal = Terminal::run("$T watch", &server, (120, 24));
    terminal.screen("ann", |lines| has(lines, "● live") && has(lines, "ann  "));
    server.signal("KILL");
    server.wait();
    let screen = terminal.screen("the cut", |lines| has(lines, "○ no connection for"));
    assert!(has(&screen, "(as it was)") && has(&screen, "ann  "), "{screen:?}");
    // A busy machine may draw no frame in the first second.
    let later = |lines: &[String]| (1..10).any(|s| has(lines, &format!("no connection for {s}s")));
    terminal.screen("time", later);
    let server = start(&[]);
    told(&server, &["allocate", "bob"]);
    let there = ["● live", "2 of 3 tokens held", "ann  ", "bob  "];
    let screen = terminal.screen("bob", |lines| there.iter().all(|part| has(lines, part)));
    assert!(!has(&screen, "as it was"), "{screen:?}");
    terminal.press("q");
    terminal.end();
}

#[test]
fn many_tokens_fit_the_screen() {
    let (_folder, server) = served(&["--pool-size", "1100", "--access-log=false"]);
    let take = || {
        for _ in 0..60 {
            told(&server, &["allocate", "-q", "王芳王芳王芳王芳王芳王芳王芳王芳王芳王芳"]);
        }
    };
    take();
    let terminal = Terminal::run("$T watch", &server, (60, 20));
    let screen = terminal.screen("all of them", |lines| has(lines, "● live") && has(lines, "more"));
    assert!(screen.len() <= 20 && has(&screen, "…"), "{screen:?}");
    let shown = screen.iter().filter(|line| line.starts_with('王')).count();
    assert!(has(&screen, &format!("and {} more", 60 - shown)), "{screen:?}");
}

#[test]
fn a_terminal_gets_colours_and_lines_that_fit() {
    let (folder, server) = served(&["--pool-size", "2"]);
    told(&server, &["allocate", &"long ".repeat(40)]);
    let shown = |commands: &str| Terminal::run(commands, &server, (60, 24)).end().1;
    let coloured = shown("$T tokens");
    assert!(coloured.contains("\x1b["), "{coloured:?}");
    assert!(coloured.contains("long long"), "{coloured:?}");
    for commands in ["NO_COLOR=1 $T tokens", "TERM=dumb $T tokens", "CLICOLOR=0 $T tokens"] {
        let shown = shown(commands);
        assert!(!shown.contains("\x1b["), "{commands}: {shown:?}");
        let table: Vec<&str> = shown.lines().skip(1).collect();
        assert_eq!(table.len(), 3, "{shown}");
        assert!(table.iter().all(|line| line.trim_end().chars().count() <= 60), "{shown}");
        assert!(shown.contains("long long") && shown.contains('…'), "{shown}");
    }
    let laid_out = shown("$T pool --json");
    assert!(laid_out.contains("\r\n  \"size\": 2,"), "{laid_out:?}");
    let error = shown("$T show ffff");
    assert!(error.contains("\x1b[31m") && error.contains("error:"), "{error:?}");
    let migrate = format!("TOKEN_MANAGER_QQ=1 $T migrate --database {}", sqlite(folder.path()));
    assert!(shown(&migrate).contains("\x1b[33m WARN"), "the log has colours, too");
    let plain = shown(&format!("NO_COLOR=1 {migrate}"));
    assert!(plain.contains(" WARN ") && !plain.contains('\x1b'), "{plain:?}");
    // Without redrawing, each event is a line.
    let mut dumb = Terminal::run("TERM=dumb $T watch", &server, (60, 24));
    dumb.shows("Watching");
    told(&server, &["allocate", "bob"]);
    dumb.shows("started   bob");
    dumb.press("\x03");
    assert!(!dumb.end().1.contains('\x1b'));
}

/// Control characters of a text, except colours and line ends.
fn obeyed(shown: &str) -> Vec<char> {
    let is_colour = |sequence: &str| {
        let end = sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        sequence.starts_with(|c: char| c.is_ascii_digit()) && end.starts_with('m')
    };
    let colours = shown.match_indices("\x1b[").filter(|(at, _)| is_colour(&shown[at + 2..]));
    let colours: Vec<usize> = colours.map(|(at, _)| at).collect();
    let harmful = |(at, c): &(usize, char)| {
        (c.is_control() && !matches!(c, '\n' | '\r') && !colours.contains(at))
            || matches!(c, '\u{202e}' | '\u{200b}')
    };
    shown.char_indices().filter(harmful).map(|(_, c)| c).collect()
}

#[test]
fn the_position_in_the_queue_is_one_line_on_a_terminal() {
    let (_folder, server) = served(&["--pool-size", "1", "--when-full", "wait"]);
    told(&server, &["allocate", "ann"]);
    for command in ["$T allocate bob --wait 2s", "$T run -u bob --wait 2s -- true"] {
        let mut terminal = Terminal::run(command, &server, (80, 24));
        let (code, shown) = terminal.end();
        let waiting = "\r\x1b[Kwaiting: number 1 in the queue, for ";
        assert!(shown.matches(waiting).count() >= 2, "{code:?} {shown:?}");
        assert!(!shown.contains("in the queue, for 0s\r\n"), "{shown:?}");
        let (_, last) = shown.rsplit_once("in the queue, for").unwrap();
        assert!(last.contains("\r\x1b[K"), "the line is cleared: {shown:?}");
        assert!(last.contains("no token became free within 2s"), "{shown:?}");
    }
}

#[test]
fn control_characters_of_others_are_escaped() {
    let (folder, server) = served(&["--pool-size", "2"]);
    let name = "e\x1b]0;owned\x07\x1b[2J\u{9b}31m\x7f\u{202e}\u{200b}";
    let taken = json(&server, &["allocate", name]);
    let (id, held) = (text(&taken, "token_id"), text(&taken, "lease_id"));
    let file = folder.path().join("odd");
    std::fs::write(&file, name).unwrap();
    let odd = format!("$(cat {})", file.display());
    let refusal = serde_json::json!({ "code": "user-limit", "detail": name }).to_string();
    let refusing = FaultyServer::start(move |_| with("409 Conflict", "", &refusal));
    let granting =
        FaultyServer::start(|_| ok(&lease("60", FAR).replace("\"v\"", "\"v\\u001b[2J\"")));
    for commands in [
        "$T leases --csv".to_owned(),
        "$T leases --json".to_owned(),
        "$T leases".to_owned(),
        "$T tokens --active".to_owned(),
        "$T pool".to_owned(),
        format!("$T show {held}"),
        format!("$T history {id}"),
        format!("$T tokens --user \"x{odd}\""),
        // Error messages repeat the input.
        format!("$T show \"{odd}\""),
        format!("$T \"{odd}\""),
        format!("$T tokens \"--{odd}\""),
        format!("$T config --lease \"{odd}\""),
        format!("$T config --database \"sqlite:{odd}\""),
        format!("$T config --config \"{odd}\""),
        format!("$T doctor --database \"sqlite:{odd}\""),
        format!("$T serve --lease \"{odd}\""),
        format!("$T migrate --log-format json --database \"sqlite:/{odd}/x\""),
        format!("$T backup \"/{odd}/x\" --database {}", sqlite(folder.path())),
        format!("$T man --dir \"/dev/null/{odd}\""),
        format!("$T completions \"{odd}\""),
        format!("$T tokens --server \"{odd}\""),
        format!("env \"TOKEN_MANAGER_X{odd}=1\" $T config"),
        format!("$T run -v --user ann -- \"{odd}\""),
        format!("TOKEN_MANAGER_SERVER={} $T run --user ann -- true", refusing.url),
        format!("TOKEN_MANAGER_SERVER={} $T release {held}", refusing.url),
        format!("TOKEN_MANAGER_SERVER={} $T status", refusing.url),
        format!("TOKEN_MANAGER_SERVER={} $T allocate -q ann", granting.url),
        format!("TOKEN_MANAGER_SERVER={} $T allocate ann", granting.url),
    ] {
        let mut terminal = Terminal::run(&commands, &server, (200, 50));
        let shown = terminal.end().1;
        assert_eq!(obeyed(&shown), ['\0'; 0], "{commands}: {shown:?}");
        assert!(shown.contains("\\u"), "{commands}: {shown:?}");
    }
}

#[test]
fn files_and_pipes_get_unchanged_data() {
    let (folder, server) = served(&["--pool-size", "1"]);
    told(&server, &["allocate", "e\x1b[2J"]);
    let copy = folder.path().join("copy").display().to_string();
    Terminal::run(&format!("$T leases --csv > {copy}"), &server, (80, 24)).end();
    assert!(std::fs::read_to_string(&copy).unwrap().contains(",e\x1b[2J,"));
    assert!(ask(&server, &["leases", "--csv"]).out.contains(",e\x1b[2J,"));
    let granting =
        FaultyServer::start(|_| ok(&lease("60", FAR).replace("\"v\"", "\"v\\u001b[2J\"")));
    assert_eq!(granting.ask(&["allocate", "-q", "ann"]).out, "v\x1b[2J\n");
}

#[test]
fn clear_asks() {
    let (_folder, server) = served(&[]);
    for (answer, code, left) in [("n\n", 8, 2), ("\n", 8, 2), ("\x04", 8, 2), ("yes\n", 0, 0)] {
        for user in ["ann", "bob"] {
            let held = json(&server, &["tokens", "--user", user]);
            if held.as_array().unwrap().is_empty() {
                told(&server, &["allocate", user]);
            }
        }
        let mut terminal = Terminal::run("$T clear", &server, (80, 24));
        terminal.shows("2 leases");
        terminal.shows(". Clear? [y/N] ");
        terminal.press(answer);
        let (ended, shown) = terminal.end();
        assert_eq!(ended, Some(code), "{answer:?}: {shown}");
        let said =
            if code == 0 { "Cleared: 2 leases" } else { "not confirmed; nothing was changed" };
        assert!(shown.contains(said), "{shown}");
        assert_eq!(json(&server, &["pool"])["active"], left, "{answer:?}");
    }
}

#[test]
fn login_asks_for_a_key_and_does_not_show_it() {
    let folder = tempfile::tempdir().unwrap();
    let (server, key) = crate::keys::guarded(&sqlite(folder.path()), &[]);
    let home = folder.path().display();
    let credentials = folder.path().join(".config/token-manager/credentials.toml");
    let ask = |keys: &str| {
        let commands = format!("export HOME={home}; $T login; echo code $?; stty -a");
        let mut terminal = Terminal::run(&commands, &server, (100, 24));
        terminal.shows("API key for http://127.0.0.1:");
        terminal.press(keys);
        let (_, shown) = terminal.end();
        assert!(shown.contains(" echo ") && shown.contains(" icanon "), "{shown:?}");
        assert!(!shown.contains("tm_"), "{shown:?}");
        shown
    };
    assert!(ask("\x03").contains("code 130"), "Ctrl-C");
    assert!(ask("tm_1_2_3\r").contains("code 2"), "no key");
    let wrong = format!("{}x\r", &key[..key.len() - 1]);
    assert!(ask(&wrong).contains("code 2"), "a typing error");
    assert!(!credentials.exists());
    // Ctrl-U begins again, and a key may be corrected.
    let typed = format!("nonsense\x15{key}xy\x7f\x7f\r");
    let shown = ask(&typed);
    assert!(
        shown.contains("Logged in to http://127.0.0.1:") && shown.contains("code 0"),
        "{shown}"
    );
    assert!(std::fs::read_to_string(credentials).unwrap().contains(&key));
}
