//! Live screen of a watched pool.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{execute, queue};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::term::coloured;
use client::{Client, Error, StreamItem, jittered};
use wire::Lease;

use super::board::Board;
use super::{Watched, is_final};
use crate::client::in_pool::InPools;
use crate::client::pool::usage;
use crate::term::error::CliError;
use crate::term::output::terminal_size;

/// Minimum interval between two frames.
const FRAME: Duration = Duration::from_millis(100);

/// Maximum interval between two frames, because times change.
const TICK: Duration = Duration::from_secs(1);

/// Interval of requests for the pool's usage, which events do not contain.
const POLL: Duration = Duration::from_secs(2);

/// Returns whether the terminal supports it.
pub fn is_possible() -> bool {
    std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// Shows the pool until a key or a signal ends it.
pub async fn show(watched: &Watched, mut board: Board) -> Result<(), CliError> {
    let mut signals =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [interrupt, terminate, hangup] = &mut signals;
    let mut screen = Screen::enter()?;
    let mut keys = keys();
    let mut reader = Reader::start(watched);
    let mut news = followed(watched);
    let mut loading = false;
    let mut drawn = Instant::now();
    let mut due = drawn;
    loop {
        tokio::select! {
            () = sleep_until(due) => {
                screen.draw(&board)?;
                drawn = Instant::now();
                due = drawn + TICK;
                continue;
            }
            // Events that arrive while the leases are read are applied afterwards.
            Some(news) = news.recv(), if !loading => match news {
                StreamItem::Event(event) => board.tell(event),
                StreamItem::Connected if reader.has_read => board.live(),
                StreamItem::Connected | StreamItem::Resync => {
                    loading = true;
                    reader.all.notify_one();
                }
                StreamItem::Disconnected(error) if is_final(&error) => return Err(error.into()),
                StreamItem::Disconnected(error) => board.lost(error.to_string()),
            },
            Some(read) = reader.read.recv() => match read {
                Ok(Read { usage, at, leases }) => {
                    board.fill(usage);
                    board.clock.learn(at);
                    if let Some(leases) = leases {
                        board.load(leases);
                        board.live();
                        reader.has_read = true;
                        loading = false;
                    }
                }
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error) => board.lost(error.to_string()),
            },
            key = keys.recv() => match key {
                Some(Key::Quit) => return Ok(()),
                Some(Key::Suspend) => Screen::suspend()?,
                Some(Key::Redraw) => Screen::clear()?,
                // Without a keyboard, only signals end it.
                None => keys = mpsc::channel(1).1,
            },
            () = came(interrupt) => return Ok(()),
            () = came(terminate) => return Ok(()),
            () = came(hangup) => return Ok(()),
        }
        due = due.min(drawn + FRAME);
    }
}

/// Reads the events in a task of its own: each frame would restart a delay or a connection attempt.
fn followed(watched: &Watched) -> mpsc::Receiver<StreamItem> {
    let mut follow = watched.client.events(&watched.query());
    let (send, news) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            let next = follow.next().await;
            if send.send(next).await.is_err() {
                return;
            }
        }
    });
    news
}

async fn came(signal: &mut io::Result<tokio::signal::unix::Signal>) {
    match signal {
        Ok(signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// State of the pool, with all running leases if requested.
struct Read {
    usage: String,
    at: jiff::Timestamp,
    leases: Option<Vec<Lease>>,
}

/// Reads in a task of its own, so that a slow server does not block the screen.
struct Reader {
    /// Requests all running leases.
    all: Arc<Notify>,
    read: mpsc::Receiver<Result<Read, Error>>,
    has_read: bool,
}

impl Reader {
    fn start(watched: &Watched) -> Self {
        let (send, read) = mpsc::channel(1);
        let all = Arc::new(Notify::new());
        let asked = Arc::clone(&all);
        let (client, pools) = (watched.client.clone(), watched.pools.clone());
        let query =
            watched.query().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut query: Vec<_> = query.collect();
        query.push(("status".to_owned(), "running".to_owned()));
        tokio::spawn(async move {
            loop {
                let mut wanted = timeout(POLL, asked.notified()).await.is_ok();
                loop {
                    let read = read_pool(&client, &pools, &query, wanted).await;
                    // Requested leases are read again until that succeeds.
                    let again = wanted && read.is_err();
                    // Errors of other reads are ignored: the event stream reports a lost connection.
                    if (wanted || read.is_ok()) && send.send(read).await.is_err() {
                        return;
                    }
                    if !again {
                        break;
                    }
                    sleep(jittered(TICK)).await;
                    wanted = true;
                }
            }
        });
        Reader { all, read, has_read: false }
    }
}

async fn read_pool(
    client: &Client,
    pools: &InPools,
    query: &[(String, String)],
    all: bool,
) -> Result<Read, Error> {
    let leases = if all {
        let query: Vec<_> =
            query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Some(client.leases(&query, usize::MAX).await?.read()?.leases)
    } else {
        None
    };
    let (state, at) = pools.state(client).await?;
    Ok(Read { usage: usage(&state), at, leases })
}

/// Key with a meaning.
enum Key {
    Quit,
    Suspend,
    Redraw,
}

/// Reads keys and changes of the window's size in a thread, which ends with the program.
fn keys() -> mpsc::Receiver<Key> {
    let (send, keys) = mpsc::channel(8);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if let Some(key) = meaning(&event)
                && send.blocking_send(key).is_err()
            {
                return;
            }
        }
    });
    keys
}

fn meaning(event: &Event) -> Option<Key> {
    let key = match event {
        Event::Resize(..) => return Some(Key::Redraw),
        Event::Key(key) if key.kind == KeyEventKind::Press => key,
        _ => return None,
    };
    match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
        (KeyCode::Char('q') | KeyCode::Esc, false) | (KeyCode::Char('c'), true) => Some(Key::Quit),
        (KeyCode::Char('z'), true) => Some(Key::Suspend),
        (KeyCode::Char('l'), true) => Some(Key::Redraw),
        _ => None,
    }
}

/// Alternate screen of the terminal; left when dropped.
struct Screen {
    colours: bool,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        // Created first, so that dropping it undoes the rest after an error.
        let screen = Screen { colours: AutoStream::choice(&io::stdout()) != ColorChoice::Never };
        terminal::enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    fn leave() {
        // Fails when the terminal was closed.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }

    fn clear() -> io::Result<()> {
        execute!(io::stdout(), Clear(ClearType::All))
    }

    /// Stops the process group, as Ctrl-Z does, until SIGCONT.
    fn suspend() -> io::Result<()> {
        Screen::leave();
        kill(Pid::from_raw(0), Signal::SIGTSTP)?;
        terminal::enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Screen::clear()
    }

    fn draw(&mut self, board: &Board) -> io::Result<()> {
        let (width, height) = terminal_size();
        let mut frame = Vec::new();
        queue!(frame, terminal::BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(board.lines(width, height)) {
            queue!(frame, MoveTo(0, row))?;
            let line = if self.colours { line } else { strip_str(&line).to_string() };
            let line = coloured(&line);
            frame.extend_from_slice(line.as_bytes());
            queue!(frame, Clear(ClearType::UntilNewLine))?;
        }
        // Clears everything below the last line.
        queue!(frame, Clear(ClearType::FromCursorDown), terminal::EndSynchronizedUpdate)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&frame)?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        Screen::leave();
    }
}
