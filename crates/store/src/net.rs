use std::collections::HashMap;

use pool::{Change, End, Fence, Lease, LeaseId};

/// What a batch's changes come to for the `leases` table: the statements run over these, in this
/// order.
#[derive(Debug, Default)]
pub struct Net {
    /// Leases that were there before the batch, and have ended in it.
    pub closed: Vec<(LeaseId, Fence, End)>,
    /// Leases that started and ended within the batch, in fence order.
    pub over: Vec<Lease>,
    /// Leases that started in the batch and go on, in fence order.
    pub running: Vec<Lease>,
}

impl Net {
    /// Nets the changes of one batch.
    #[must_use]
    pub fn of(changes: &[Change]) -> Self {
        let mut net = Net::default();
        let mut started: HashMap<Fence, usize> = HashMap::new();
        for change in changes {
            match change {
                Change::LeaseStarted(lease) => {
                    started.insert(lease.fence, net.running.len());
                    net.running.push(lease.clone());
                }
                Change::LeaseEnded { lease_id, fence, end } => match started.get(fence) {
                    Some(&index) => net.running[index].end = Some(*end),
                    None => net.closed.push((*lease_id, *fence, *end)),
                },
                Change::PolicyChanged(_) => {}
            }
        }
        (net.over, net.running) = net.running.into_iter().partition(|lease| lease.end.is_some());
        net
    }
}
