//! Deletion of old rows beside the batches.

use std::time::Duration;

use engine::Settings;
use testbed::on_both;

use crate::faulty::{FaultyDatabase, Gate, Plan};
use crate::support::TestDb;

const LONG: Duration = Duration::from_mins(2);

#[on_both]
async fn no_batch_and_no_stop_waits_for_housekeeping(db: TestDb) {
    let mut database = FaultyDatabase::new(db.database(), &Plan::default());
    let gate = Gate::new();
    database.housekeeping = Some(gate);
    let engine = db.start_with(Box::new(database), 10, LONG, Settings::default()).await;
    testbed::eventually("housekeeping is stuck", || async { gate.is_reached() }).await;
    // More batches than the journal's entries are pruned after.
    for _ in 0..300 {
        engine.allocate("u").await;
    }
    engine.stop().await;
    db.audit().await;
}
