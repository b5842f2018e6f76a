//! Event stream clients.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::TestServer;

/// Event stream client with the rules of a browser.
pub struct Follower {
    response: Response,
    unread: Vec<u8>,
    /// `Last-Event-ID` of the next connection.
    pub last_id: String,
}

/// The text between two empty lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub event: String,
    /// Its id, if it has one.
    pub id: Option<String>,
    pub data: String,
    pub comments: usize,
    pub retry: Option<u64>,
}

impl Follower {
    pub async fn of(server: &TestServer) -> Self {
        Self::to(server.request(Method::GET, "/api/events")).await
    }

    pub async fn with(server: &TestServer, query: &str) -> Self {
        Self::to(server.request(Method::GET, &format!("/api/events?{query}"))).await
    }

    pub async fn after(server: &TestServer, id: &str) -> Self {
        Self::to(server.request(Method::GET, "/api/events").header("last-event-id", id)).await
    }

    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Follower { response, unread: Vec::new(), last_id: String::new() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    /// The next message of any kind; None at the end of the stream.
    pub async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|end| end == b"\n\n") {
                let message: Vec<u8> = self.unread.drain(..end + 2).collect();
                let message = Message::parse(std::str::from_utf8(&message[..end]).unwrap());
                if let Some(id) = &message.id {
                    self.last_id.clone_from(id);
                }
                return Some(message);
            }
            let more = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let Some(bytes) = more.await.expect("the stream continues").unwrap() else {
                assert!(self.unread.is_empty(), "the stream ended within a message");
                return None;
            };
            self.unread.extend(bytes);
        }
    }

    /// The next message that is an event.
    pub async fn event(&mut self) -> Message {
        loop {
            let message = self.message().await.expect("the stream continues");
            if !message.event.is_empty() {
                return message;
            }
        }
    }

    /// The next `count` events.
    pub async fn events(&mut self, count: usize) -> Vec<Message> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }

    /// Events up to and including the first about this user.
    pub async fn until_user(&mut self, user: &str) -> Vec<Message> {
        let mut events = Vec::new();
        while events.last().is_none_or(|last: &Message| last.json()["user"] != user) {
            events.push(self.event().await);
        }
        events
    }

    /// Waits for an id without an event, at or after `at_least`, and returns it.
    pub async fn position(&mut self, at_least: &str) -> String {
        loop {
            let message = self.message().await.expect("the stream continues");
            assert_eq!(message.event, "", "{message:?}");
            if let Some(id) = message.id
                && place(&id) >= place(at_least)
            {
                return id;
            }
        }
    }
}

/// Client that reads only when a test asks for a message; its small buffers stop the server in between.
pub struct Hesitant(Lines<BufReader<TcpStream>>);

impl Hesitant {
    pub async fn of(server: &TestServer, query: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        // An HTTP/1.0 answer has no chunks.
        let request = format!("GET /api/events?{query} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut hesitant = Hesitant(BufReader::new(stream).lines());
        assert!(hesitant.paragraph().await.starts_with("HTTP/1.0 200 OK\n"));
        hesitant
    }

    async fn paragraph(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let line = tokio::time::timeout(Duration::from_secs(20), self.0.next_line()).await;
            match line.expect("the stream continues").unwrap().expect("the stream continues") {
                line if line.is_empty() => return lines.join("\n"),
                line => lines.push(line),
            }
        }
    }

    /// The next message that is more than a comment.
    pub async fn message(&mut self) -> Message {
        loop {
            let message = Message::parse(&self.paragraph().await);
            if message.id.is_some() {
                return message;
            }
        }
    }
}

/// Allocates `times` times, 50 at a time, with the longest user names.
pub async fn allocate_often(server: &TestServer, times: usize) {
    let user = pool::User::new(&"é".repeat(255)).unwrap();
    for _ in 0..times / 50 {
        let at_once = (0..50).map(|_| server.engine.allocate(user.clone()));
        for granted in futures_util::future::join_all(at_once).await {
            granted.unwrap().unwrap();
        }
    }
}

impl Message {
    pub fn parse(text: &str) -> Self {
        let mut message = Message::default();
        for line in text.split('\n') {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{text:?}"));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" => message.comments += 1,
                "event" => value.clone_into(&mut message.event),
                "id" => message.id = Some(value.to_owned()),
                "data" => value.clone_into(&mut message.data),
                "retry" => message.retry = Some(value.parse().unwrap()),
                _ => panic!("{text:?}"),
            }
        }
        assert_eq!(message.event.is_empty(), message.data.is_empty(), "{text:?}");
        message
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("{self:?} has no id"))
    }
}

/// Numbers of an id; they compare as positions do.
pub fn place(id: &str) -> (i64, i64, i64) {
    let mut numbers = id.split('-').map(|number| number.parse().unwrap());
    let place = (numbers.next(), numbers.next(), numbers.next());
    (place.0.unwrap(), place.1.unwrap(), place.2.unwrap_or(i64::MAX))
}
