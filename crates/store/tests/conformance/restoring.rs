use store::{EPOCH_GAP, News};

use super::Place;
use super::server::{Server, refusal, tokens};

pub async fn after_a_restore_a_new_epoch_begins(place: &impl Place) {
    let mut server = Server::start(place, tokens(2)).await;
    let running = server.allocate("Ada").await;
    let (before, at) = (server.position, server.at);
    drop(server);
    let begun = place.database().begin_epoch().await.unwrap();
    assert_eq!((begun.epoch, begun.restored), (before.epoch + 1, at));
    assert!(begun.gap >= EPOCH_GAP);
    assert_eq!(begun.version, before.version + 1 + begun.gap);
    assert_eq!(begun.fence, running.fence.plus(begun.gap));
    let again = place.database().begin_epoch().await.unwrap();
    assert_eq!(again.epoch, begun.epoch + 1);
    assert!(again.fence >= begun.fence.plus(EPOCH_GAP));

    let mut server = Server::start(place, tokens(2)).await;
    assert_eq!((server.position.epoch, server.position.version), (again.epoch, again.version));
    assert!(server.at >= at);
    assert_eq!(server.pool.lease(running.id), Some(&running));
    assert_eq!(server.allocate("Bea").await.fence, again.fence.plus(1));
    let begun = server.store.begin(&before).await.unwrap();
    server.store.abandon().await;
    // Where they are told one by one, they lead there as well.
    if let News::Whole(whole) = begun.news {
        assert_eq!(whole.position, server.position);
    }
    drop(server);
    assert_eq!(place.database().audit().await.unwrap(), [""; 0]);
}

pub async fn no_epoch_begins_where_there_is_no_pool(place: &impl Place) {
    place.database().migrate().await.unwrap();
    let sentence = refusal(place.database().begin_epoch().await);
    assert!(sentence.contains("holds no pool"), "{sentence}");
}
