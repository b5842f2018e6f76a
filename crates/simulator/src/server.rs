//! Servers: real engines, which can be paused, killed, stopped and started.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use engine::{Handle, Machine, Settings};
use store::{ServerId, Wanted};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep};
use uuid::Uuid;

use crate::database::SimDatabase;
use crate::world::{Shared, lock, paused_until};

/// Longest time in which a stopped server has to end.
const LONGEST_STOP: Duration = Duration::from_secs(7);

/// A task of a server: it stands still while the server is paused, and is sometimes polled later than others that
/// were woken after it.
pub struct Task<F> {
    world: Shared,
    server: u8,
    inner: Pin<Box<F>>,
    pause: Option<Pin<Box<Sleep>>>,
    was_put_back: bool,
}

impl<F> Task<F> {
    /// A task of this server.
    pub fn new(world: &Shared, server: u8, inner: F) -> Self {
        let world = world.clone();
        Task { world, server, inner: Box::pin(inner), pause: None, was_put_back: false }
    }
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.pause.is_none() {
            let until = paused_until(&self.world, self.server);
            self.pause = until.map(|until| Box::pin(tokio::time::sleep_until(until)));
        }
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        if !self.was_put_back && lock(&self.world).rng.u8(0..4) == 0 {
            self.was_put_back = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.was_put_back = false;
        self.inner.as_mut().poll(context)
    }
}

/// A running server.
struct Running {
    id: ServerId,
    handle: Handle,
    task: AbortHandle,
    stop: Option<oneshot::Sender<()>>,
    ended: watch::Sender<bool>,
}

/// The servers.
pub struct Servers {
    world: Shared,
    running: Mutex<Vec<Option<Running>>>,
}

impl Servers {
    /// Starts this number of servers.
    pub fn start(world: &Shared, count: u8) -> Arc<Self> {
        let running = Mutex::new((0..count).map(|_| None).collect());
        let servers = Arc::new(Servers { world: world.clone(), running });
        (0..count).for_each(|server| servers.begin(server));
        servers
    }

    fn running(&self) -> MutexGuard<'_, Vec<Option<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine of a server, unless it is down; its id; and a channel that reports its end.
    pub fn handle(&self, server: u8) -> Option<(Handle, ServerId, watch::Receiver<bool>)> {
        let running = self.running();
        let one = running[usize::from(server)].as_ref()?;
        Some((one.handle.clone(), one.id, one.ended.subscribe()))
    }

    /// Starts a server.
    pub fn begin(&self, server: u8) {
        let (id, batch) = {
            let mut world = lock(&self.world);
            world.note(&format!("server {server} starts"));
            let batch = world.rng.choice([2, 6, 512]).unwrap_or(512);
            (ServerId(Uuid::from_u128(world.rng.u128(..))), batch)
        };
        let of_clock = self.world.clone();
        let uptime = Arc::new(move || lock(&of_clock).uptime());
        let is_shared = self.running().len() > 1;
        let database = SimDatabase { world: self.world.clone(), server, is_shared };
        let settings = Settings { batch, ..Settings::default() };
        let machine = Machine { server: id, uptime };
        let (handle, engine) =
            engine::start_on(machine, Box::new(database), Wanted::default(), settings);
        let (stop, stopped) = oneshot::channel();
        let run = engine.run(async move { drop(stopped.await) });
        let task = tokio::spawn(Task::new(&self.world, server, run));
        let (abort, world) = (task.abort_handle(), self.world.clone());
        tokio::spawn(async move {
            match task.await {
                Ok(Err(fatal)) => lock(&world).fail(format!("server: {fatal}")),
                Err(error) if error.is_panic() => lock(&world).fail(format!("server: {error}")),
                _ => {}
            }
        });
        let (stop, ended) = (Some(stop), watch::Sender::new(false));
        self.running()[usize::from(server)] =
            Some(Running { id, handle, task: abort, stop, ended });
    }

    /// Ends a server, at once or as on SIGTERM, and starts it again after some time.
    pub async fn restart(&self, server: u8, kill: bool, down: Duration) {
        let (task, stop) = {
            let mut running = self.running();
            let Some(one) = &mut running[usize::from(server)] else { return };
            (one.task.clone(), one.stop.take())
        };
        let Some(stop) = stop else { return };
        lock(&self.world)
            .note(&format!("server {server} ends, {}", if kill { "killed" } else { "stopped" }));
        if kill {
            task.abort();
        } else {
            // The engine may have ended.
            let _ = stop.send(());
        }
        let since = Instant::now();
        while !task.is_finished() {
            if since.elapsed() > LONGEST_STOP {
                task.abort();
            }
            sleep(Duration::from_millis(1)).await;
        }
        if let Some(one) = self.running()[usize::from(server)].take() {
            let mut world = lock(&self.world);
            world.listeners.retain(|(other, _)| *other != server);
            world.facts.dead.insert(one.id.0);
            one.ended.send_replace(true);
        }
        sleep(down).await;
        self.begin(server);
    }
}
