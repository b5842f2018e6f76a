use std::time::Duration;

use pool::{Fence, LeaseId, TokenId};

use super::Place;
use super::server::{Server, allocate, id, tokens};

pub async fn history_is_read_newest_first_a_page_at_a_time(place: &impl Place) {
    let mut server = Server::start(place, tokens(2)).await;
    let mut granted = Vec::new();
    for number in 0..14 {
        granted.push(server.allocate(&format!("user {number}")).await);
    }
    let token = granted[0].token_id;
    granted.retain(|lease| lease.token_id == token);
    granted.reverse();
    assert_eq!(granted.len(), 7);
    let ids =
        |leases: &[pool::Lease]| leases.iter().map(|lease| lease.id).collect::<Vec<LeaseId>>();

    let all = server.history(token).await;
    assert_eq!(ids(&all), ids(&granted));
    let page = server.reader.history(token, None, 3).await.unwrap();
    assert_eq!(page, all[..3]);
    let page = server.reader.history(token, Some(page[2].fence), 3).await.unwrap();
    assert_eq!(page, all[3..6]);
    let page = server.reader.history(token, Some(page[2].fence), 3).await.unwrap();
    assert_eq!(page, all[6..]);
    let page = server.reader.history(token, Some(page[0].fence), 3).await.unwrap();
    assert_eq!(page, []);
    // A fence of another token, between two of this one.
    let between = Fence::new(all[1].fence.get() + 1);
    assert_eq!(server.reader.history(token, Some(between), 2).await.unwrap(), all[1..3]);
    assert_eq!(server.history(TokenId(id())).await, []);
}

pub async fn history_shows_leases_as_they_are_stored(place: &impl Place) {
    let mut server = Server::start(place, tokens(1)).await;
    let granted = server.allocate("Ada").await;
    assert_eq!(server.history(granted.token_id).await, std::slice::from_ref(&granted));
    server.wait(Duration::from_hours(1));
    server.decide(&[]).await;
    server.store.abandon().await;
    assert_eq!(server.history(granted.token_id).await, [granted], "its end is not written yet");
}

pub async fn names_come_back_as_they_were_sent(place: &impl Place) {
    let longest = "\u{10348}".repeat(255);
    let names = [
        "O'Reilly \"the\" \\ `quoted`; drop table leases; --",
        "👩🏽‍🚀 \u{1F1E7}\u{1F1F7}",
        "\u{202E}مرحبا\u{202C} שלום",
        "e\u{301} and \u{e9} differ",
        "\t line\nbreak\r\n and \u{1} \u{7f} \u{feff} \u{ffff}",
        " spaces around ",
        "{a,NULL,\"b\"}",
        "NULL",
        "0198C1B2-7A43-7CC0-8F0E-0123456789AB",
        &longest,
    ];
    let mut server = Server::start(place, tokens(names.len())).await;
    let commands: Vec<_> = names.iter().map(|name| allocate(name)).collect();
    server.run(&commands).await;
    let before = server.facts();
    let server = server.restart(place).await;
    assert_eq!(server.facts(), before);
    for (view, name) in server.pool.tokens(0).zip(names) {
        assert_eq!(&*view.latest.unwrap().user.name, name);
    }
}
