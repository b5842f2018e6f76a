use serde::{Deserialize, Serialize};

use crate::{End, Fence, Lease, LeaseId, Policy};

/// A durable fact that a decision produced. Changes are kept in the journal, so variants and fields
/// are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A lease was granted; it has no end yet.
    LeaseStarted(Lease),
    /// A running lease ended.
    LeaseEnded {
        /// Which lease.
        lease_id: LeaseId,
        /// Its fence.
        fence: Fence,
        /// When and why.
        end: End,
    },
    /// The owner chose another policy; leases already granted keep their deadlines.
    PolicyChanged(Policy),
}
