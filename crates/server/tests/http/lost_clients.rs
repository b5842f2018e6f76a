//! Clients whose machine becomes unreachable without closing connections, in a network namespace.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pool::{Policy, WhenFull};
use server::Settings;
use store::Wanted;

use crate::harness::{Serve as _, TestServer};
use testbed::{TestDb, eventually};

/// Machine for clients: a network namespace, connected by two virtual interfaces.
struct Machine {
    name: String,
    /// Address of the server's side.
    host: String,
    clients: Vec<Child>,
}

impl Machine {
    /// None if this process may not create namespaces.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let (name, inside) = (format!("tm{id}"), format!("tmc{id}"));
        let network = format!("10.{}.{}", 200 + id / 250 % 50, id % 250);
        let (host, client) = (format!("{network}.1"), format!("{network}.2/24"));
        let machine = Machine { name, host, clients: Vec::new() };
        let Machine { name, host, .. } = &machine;
        let all = [
            &["netns", "add", name][..],
            &["link", "add", name, "type", "veth", "peer", "name", &inside],
            &["link", "set", &inside, "netns", name],
            &["addr", "add", &format!("{host}/24"), "dev", name],
            &["link", "set", name, "up"],
            &["-n", name, "link", "set", &inside, "name", "outside"],
            &["-n", name, "addr", "add", &client, "dev", "outside"],
            &["-n", name, "link", "set", "outside", "up"],
        ];
        all.iter().all(|arguments| ip(arguments)).then_some(machine)
    }

    /// Sends a request and keeps the connection.
    fn send(&mut self, server: SocketAddr, request: &str) {
        let send = "import socket, sys, time\n\
                    s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
                    s.sendall(sys.argv[3].encode())\n\
                    while s.recv(65536): pass";
        let (ip, port) = (server.ip().to_string(), server.port().to_string());
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "python3", "-c", send, &ip, &port, request]);
        self.clients.push(command.spawn().unwrap());
    }

    fn vanish(&self) {
        assert!(ip(&["-n", &self.name, "link", "set", "outside", "down"]));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for client in &mut self.clients {
            let _ = client.kill();
            let _ = client.wait();
        }
        // The namespace takes the interfaces with it, if they were created.
        ip(&["netns", "del", &self.name]);
        ip(&["link", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

async fn streams(server: &TestServer) -> bool {
    let metrics = server.get("/metrics").await.text;
    metrics.contains("\ntoken_manager_event_streams 1\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_client_loses_its_place_and_its_stream() {
    let Some(mut machine) = Machine::new() else {
        eprintln!("skipped: network namespaces need root");
        return;
    };
    let (waiter_timeout, answer_timeout) = (Duration::from_secs(3), Duration::from_secs(5));
    let anonymous = Some(server::Anonymous::Use);
    let remote = Settings { loopback: false, anonymous, ..Settings::default() };
    let settings = Settings { waiter_timeout, answer_timeout, ..remote };
    let policy = Policy { when_full: WhenFull::Wait, ..Policy::of_lease(Duration::from_mins(2)) };
    let wanted = Wanted { size: Some(1), policy: policy.into(), update_policy: true };
    let db = TestDb::sqlite();
    let listener = TcpListener::bind((machine.host.as_str(), 0)).unwrap();
    let engine = engine::Settings::default();
    let server = TestServer::on(listener, db.database(), async {}, wanted, engine, settings);
    server.ready().await;

    let held = server.allocate("holder").await;
    let body = r#"{"user_id":"ghost","wait_seconds":60}"#;
    let host = machine.host.clone();
    let length = body.len();
    machine.send(
        server.address,
        &format!(
            "POST /api/tokens/allocate HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    );
    machine.send(server.address, &format!("GET /api/events HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let waiting = async || server.get("/api/pool").await.json()["waiting"].as_u64().unwrap();
    eventually("the client waits", async || waiting().await == 1).await;
    eventually("the client follows", async || streams(&server).await).await;

    machine.vanish();
    eventually("its place is free", async || waiting().await == 0).await;
    server.post(&format!("/api/leases/{}/release", held["lease_id"].as_str().unwrap())).await;
    assert_eq!(server.active().await, 0, "a lost client got a token");
    eventually("its stream has ended", async || !streams(&server).await).await;
}
