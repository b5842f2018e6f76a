//! The programs in `examples/`, run as their readers run them.

use std::path::Path;
use std::process::Command;

use crate::databases;
use crate::harness::{Server, run};

/// What a program in `examples/` says about a server.
fn example(name: &str, server: &Server) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let ended = run(Command::new("python3").arg(path).arg(server.url()));
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    ended.out
}

#[tokio::test]
async fn a_client_that_loses_its_lease_finds_out() {
    let (_folder, databases) = databases().await;
    for database in databases {
        let policy = ["--pool-size", "1", "--lease", "3s", "--max-lease", "10s"];
        let server = Server::start(&database, &policy);
        let said = example("lost_lease.py", &server);
        let expected = [
            "ann has the token, with fence 1, for 3 s",
            "ann renewed her lease",
            "ann sleeps through her deadline",
            "bob has the token, with fence 2",
            "ann's own clock says: 0 s left",
            "the resource says: fence 1 is older than 2",
            "the server says: ended (expired), bob has it now",
            "ann can't renew: lease-over (expired)",
            "ann can't release: lease-over (expired)",
            "bob's lease is active",
            "bob's release: released",
            "written: ann's first line, ann's second line, bob's first line",
        ];
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "on {database}");
        let (status, leases) = server.get("/api/leases").await;
        let leases = leases["leases"].as_array().unwrap();
        let ends: Vec<_> = leases.iter().map(|lease| &lease["end_reason"]).collect();
        assert_eq!((status, ends.as_slice()), (200, &[&"released".into(), &"expired".into()][..]));
    }
}
