//! Members that problems of some codes have besides those of every problem. Answers and the document's
//! schemas are both made from these types.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Code;
use crate::answer::Time;
use crate::lease_row::Current;
use crate::openapi::words;

/// Members of the problems of one code.
pub(crate) trait Members: Serialize {
    const CODE: Code;
}

/// Types named like the code that they belong to.
macro_rules! members {
    ($($(#[$about:meta])* $code:ident $(<$life:lifetime>)? { $($fields:tt)* })*) => {
        $(
            $(#[$about])*
            #[derive(Serialize, ToSchema)]
            pub(crate) struct $code $(<$life>)? { $($fields)* }

            impl $(<$life>)? Members for $code $(<$life>)? {
                const CODE: Code = Code::$code;
            }
        )*

        impl Code {
            /// Whether problems of this code have members of their own.
            pub(crate) const fn has_members(self) -> bool {
                matches!(self, $(Code::$code)|*)
            }
        }
    };
}

members! {
    /// The token is not held by the lease or user that the request names.
    HeldOtherwise<'a> {
        /// The lease that holds the token; null when none does.
        #[schema(required = true)]
        pub(crate) current: Option<Current<'a>>,
    }

    /// The lease has ended.
    LeaseOver {
        pub(crate) ended_at: Time,
        #[schema(value_type = words::EndReason)]
        pub(crate) end_reason: &'static str,
        /// The lease for which it was evicted, or null.
        #[schema(required = true)]
        pub(crate) evicted_by: Option<Uuid>,
    }

    /// The lease can't be renewed beyond its deadline.
    RenewalLimit {
        /// The lease's deadline, which stays as it is.
        pub(crate) expires_at: Time,
    }

    /// The user has as many leases as the policy allows.
    UserLimit {
        /// Maximum number of leases of one user at the same time.
        #[schema(minimum = 1)]
        pub(crate) max_per_user: u32,
    }

    /// The ticket has become a lease.
    TicketServed {
        /// The lease, whose id is the ticket's.
        pub(crate) lease_id: Uuid,
    }

    /// All tokens are in use.
    PoolFull {
        /// Position of the request in the queue, from 1.
        #[schema(minimum = 1)]
        pub(crate) position: usize,
    }
}
