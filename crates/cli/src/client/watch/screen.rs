//! The live screen: what is held and what happened, redrawn in place.

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
use client::{Client, Error, Lease, Leases, PoolView, StreamItem, jittered};

use super::board::Board;
use super::{Watched, is_final};
use crate::client::time_of;
use crate::term::error::CliError;
use crate::term::output::terminal_size;

/// How often it is redrawn while a lot happens.
const FRAME: Duration = Duration::from_millis(100);

/// How often it is redrawn for the times on it.
const TICK: Duration = Duration::from_secs(1);

/// How often it is asked how full the pool is, and how many wait, which no event tells.
const POLL: Duration = Duration::from_secs(2);

/// Whether a terminal can do it.
pub fn is_possible() -> bool {
    std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// Shows what happens until a key or a signal says that it is enough.
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
            // What happens meanwhile is told when the rest is known.
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
                Ok(Read { pool, at, leases }) => {
                    board.fill(pool);
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
                // Nobody can press a key; signals do.
                None => keys = mpsc::channel(1).1,
            },
            () = came(interrupt) => return Ok(()),
            () = came(terminate) => return Ok(()),
            () = came(hangup) => return Ok(()),
        }
        due = due.min(drawn + FRAME);
    }
}

/// The events, from a task of its own: each redrawing would begin a pause or a connection anew.
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

/// What was read of the pool, with all leases that run if they were asked for.
struct Read {
    pool: PoolView,
    at: jiff::Timestamp,
    leases: Option<Vec<Lease>>,
}

/// Reads beside the screen, so that a slow server does not make it slow.
struct Reader {
    /// Asks for all leases.
    all: Arc<Notify>,
    read: mpsc::Receiver<Result<Read, Error>>,
    has_read: bool,
}

impl Reader {
    fn start(watched: &Watched) -> Self {
        let (send, read) = mpsc::channel(1);
        let all = Arc::new(Notify::new());
        let (asked, client) = (Arc::clone(&all), watched.client.clone());
        let query =
            watched.query().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut query: Vec<_> = query.collect();
        query.push(("status".to_owned(), "running".to_owned()));
        tokio::spawn(async move {
            loop {
                let mut wanted = timeout(POLL, asked.notified()).await.is_ok();
                loop {
                    let read = read_pool(&client, &query, wanted).await;
                    // Without all leases there is nothing to tell yet.
                    let again = wanted && read.is_err();
                    // Only that the stream breaks tells that the connection is lost.
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

async fn read_pool(client: &Client, query: &[(String, String)], all: bool) -> Result<Read, Error> {
    let leases = if all {
        let query: Vec<_> =
            query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let found = client.pages("/api/leases", &query, Some("leases"), usize::MAX).await?;
        Some(found.read::<Leases>()?.leases)
    } else {
        None
    };
    let answer = client.get("/api/pool", &[]).await?;
    let pool: PoolView = answer.read()?;
    let at = time_of(&answer, pool.oldest_lease.as_ref().map(Lease::read_at))?;
    Ok(Read { pool, at, leases })
}

/// What somebody asks for at the terminal.
enum Key {
    Quit,
    Suspend,
    Redraw,
}

/// Keys and changes of the window's size, from a thread of its own, which ends with the program.
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

/// The terminal's other screen; left when dropped, however that comes about.
struct Screen {
    colours: bool,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        // Before anything changes, so that all is undone if the rest fails.
        let screen = Screen { colours: AutoStream::choice(&io::stdout()) != ColorChoice::Never };
        terminal::enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    fn leave() {
        // There is nothing else to do about a terminal that is gone.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }

    fn clear() -> io::Result<()> {
        execute!(io::stdout(), Clear(ClearType::All))
    }

    /// Stops as Ctrl-Z stops a program, and goes on when it is told to.
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
        // From the end of the last line.
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
