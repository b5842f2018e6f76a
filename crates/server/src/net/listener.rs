//! A listener that limits connections, and accepts none while draining.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum_server::{AddrListener, Address};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};

use super::accept_log::AcceptLog;
use super::activity::Activity;
use super::connection::{Connection, Timeouts};
use super::connections::Connections;
use super::drain::Drain;
use super::memory::ResponseMemory;
use super::socket::{self, PeerTimeouts};
use crate::settings::Settings;

/// The other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    address: SocketAddr,
    pub(crate) activity: Arc<Activity>,
}

impl Address for Peer {
    type Stream = Connection;
    type Listener = LimitedListener;
}

/// A listener whose connections count against the limits of [`Connections`].
pub(crate) struct LimitedListener {
    /// None once it is closed.
    listener: Mutex<Option<Arc<TcpListener>>>,
    connections: Arc<Connections>,
    drain: Arc<Drain>,
    accept_log: AcceptLog,
    timeouts: Timeouts,
    open: Gauge,
}

impl LimitedListener {
    pub(crate) fn new(
        listener: TcpListener,
        open: Gauge,
        connections: Arc<Connections>,
        settings: &Settings,
        drain: Arc<Drain>,
    ) -> Self {
        let Settings { header_timeout, idle_timeout, answer_timeout, .. } = *settings;
        let peer = PeerTimeouts { waiting: settings.waiter_timeout, otherwise: answer_timeout };
        let timeouts = Timeouts { header_timeout, idle_timeout, answer_timeout, peer };
        let listener = Mutex::new(Some(Arc::new(listener)));
        let accept_log = AcceptLog::default();
        LimitedListener { listener, connections, drain, accept_log, timeouts, open }
    }

    fn listener(&self) -> io::Result<Arc<TcpListener>> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listener.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    async fn accept(&self) -> io::Result<(Connection, Peer)> {
        loop {
            let accepted = self.listener()?.accept().await;
            self.accept_log.record(&accepted);
            let (stream, address): (TcpStream, _) = accepted?;
            if let Some(open) = self.connections.enter(address.ip(), &self.open) {
                self.drain.used();
                socket::configure(&stream, self.timeouts.peer);
                let peer = Peer { address, activity: Arc::clone(&open.activity) };
                return Ok((Connection::new(stream, self.timeouts, open), peer));
            }
        }
    }
}

impl AddrListener<Connection, Peer> for LimitedListener {
    async fn bind_to(peer: Peer) -> io::Result<Self> {
        let listener = TcpListener::bind(peer.address).await?;
        let settings = Settings::default();
        let memory = ResponseMemory::new(settings.answer_bytes);
        let (limit, per_address) = (settings.connections, settings.connections_per_address);
        let connections = Connections::new(limit, per_address, memory);
        let open = Gauge::default();
        Ok(LimitedListener::new(listener, open, connections, &settings, Arc::default()))
    }

    async fn accept_stream(&self) -> io::Result<(Connection, Peer)> {
        tokio::select! {
            // Accept first what the system has accepted already: closing the listener resets it.
            biased;
            accepted = self.accept() => accepted,
            () = self.drain.begun() => {
                *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.drain.closed();
                std::future::pending().await
            }
        }
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        let address = self.listener()?.local_addr()?;
        let activity = Activity::new(address.ip(), ResponseMemory::new(0), false);
        Ok(Peer { address, activity: Arc::new(activity) })
    }
}
