//! Members of their own that problems of some codes have. Responses and schemas use these types.

use serde::Serialize;
use uuid::Uuid;

use crate::json::lease::Current;
use crate::json::time::Time;
use wire::Code;

/// Members of the problems of one code.
pub(crate) trait Members: Serialize {
    const CODE: Code;
}

/// Types with the names of their codes.
macro_rules! members {
    ($($(#[$about:meta])* $code:ident $(<$life:lifetime>)? { $($fields:tt)* })*) => {
        $(
            $(#[$about])*
            #[derive(Serialize)]
            pub(crate) struct $code $(<$life>)? { $($fields)* }

            impl $(<$life>)? Members for $code $(<$life>)? {
                const CODE: Code = Code::$code;
            }
        )*
    };
}

members! {
    /// The lease or user that the request names does not hold the token.
    HolderMismatch<'a> {
        /// Lease that holds the token, or null.
        pub(crate) current: Option<Current<'a>>,
    }

    /// The lease has ended.
    LeaseOver {
        pub(crate) ended_at: Time,
        pub(crate) end_reason: &'static str,
        /// Lease for which it was evicted, or null.
        pub(crate) evicted_by: Option<Uuid>,
    }

    /// The lease can't be renewed beyond its deadline.
    RenewalLimit {
        /// Deadline of the lease, which stays.
        pub(crate) expires_at: Time,
    }

    /// The user has the maximum number of leases.
    UserLimit {
        /// Maximum number of running leases per user.
        pub(crate) max_per_user: u32,
    }

    /// The ticket has become a lease.
    TicketServed {
        /// Id of the lease, which is the ticket's.
        pub(crate) lease_id: Uuid,
    }

    /// All tokens are in use.
    PoolFull {
        /// Position of the request in the queue, from 1.
        pub(crate) position: usize,
    }
}
