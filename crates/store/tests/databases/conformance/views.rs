//! The views for people at a SQL prompt.

use std::time::Duration;

use pool::{Allocation, Command, Effect, Note, Outcome, PoolWanted};
use testbed::on_both;

use super::pools::{allocate_from, apply, delete, pool, taint, token, token_named};
use super::server::{Server, tokens};
use super::{AnyDb as _, EmptyDb};

const POOLS: &str = "select pool || ':' || description || ' ' || size || ' ' || active || ' ' ||
    available || ' ' || tainted || ' ' || retiring || ' ' || waiting from pool_status order by pool";

const TOKENS: &str =
    "select pool || '/' || name || ' ' || status || ' ' || coalesce(user_name, '-') ||
    ' ' || coalesce(note, '-') from token_status order by pool, position";

const HISTORY: &str =
    "select coalesce(pool, '?') || '/' || coalesce(token_name, '?') || ' ' || user_name ||
    ' ' || status || ' ' || coalesce(note, '-') from token_history order by fence";

#[on_both]
async fn views_show_pools_and_tokens_by_name(db: EmptyDb) {
    db.follow_the_clock();
    let mut server = Server::alone(&db, tokens(1)).await;
    let four = ["a", "b", "c", "d"].map(token);
    let description = Note::new("Phones").ok();
    let phones = PoolWanted { description, ..pool("phones", &four) };
    server.run(&[apply(&[phones, pool("empty", &[])])]).await;
    let named = |server: &Server, name| token_named(server, "phones", name);
    let (a, b, d) = (named(&server, "a"), named(&server, "b"), named(&server, "d"));
    let of = |token: &pool::Token, user, server: &Server| Allocation {
        token: Some(token.id),
        ..allocate_from(server, "phones", user)
    };
    let noted = Allocation { note: Note::new("PR 1").ok(), ..of(&a, "Ada", &server) };
    let held = [noted, of(&b, "Bea", &server)].map(Command::Allocate);
    server.run(&held).await;
    // `a` is tainted, too, and held.
    let taints = [&a, &d].map(|token| {
        let taint = taint("t", Effect::NoNewLeases, None);
        Command::Taint { pool: token.pool, token: token.id, taint }
    });
    server.run(&taints).await;
    let waits = Allocation { wait: Some(Duration::from_mins(1)), ..of(&a, "Cleo", &server) };
    let (_, outcomes) = server.run(&[Command::Allocate(waits)]).await;
    assert!(matches!(outcomes[0], Outcome::Queued(_)), "{outcomes:?}");
    // `b` is retired, and held.
    let three = [&four[0], &four[2], &four[3]].map(Clone::clone);
    server.run(&[apply(&[pool("phones", &three)])]).await;
    let expected = ["default: 1 0 1 0 0 0", "empty: 0 0 0 0 0 0", "phones:Phones 4 2 1 1 1 1"];
    assert_eq!(db.read(POOLS).await, expected);
    let expected = [
        "default/1 available - -",
        "phones/a active Ada PR 1",
        "phones/b active Bea -",
        "phones/c available - -",
        "phones/d tainted - -",
    ];
    assert_eq!(db.read(TOKENS).await, expected);
    assert_eq!(db.read(HISTORY).await, ["phones/a Ada active PR 1", "phones/b Bea active -"]);
    let elsewhere = apply(&[pool("phones", &[token("a")])]);
    server.run(&[delete("phones"), elsewhere]).await;
    let expected = ["default: 1 0 1 0 0 0", "empty: 0 0 0 0 0 0", "phones: 1 0 1 0 0 0"];
    assert_eq!(db.read(POOLS).await, expected, "the new pool has nothing of the deleted one");
    assert_eq!(db.read(HISTORY).await, ["phones/a Ada over PR 1", "phones/b Bea over -"]);
    drop(server);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}
