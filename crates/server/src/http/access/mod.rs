//! Access control: who sends a request, and what that caller may do.
//!
//! The [`Guard`] decides before a request's body is read. Handlers get the [`Acting`] engine, whose commands are
//! those of the caller's API key, and which finds only pools to which the key applies.

mod acting;
mod caller;
mod certificate;
mod credentials;
mod failures;
mod guard;
mod proxy;
mod rate;
mod refusals;
mod start;
mod turns;

pub(crate) use acting::{Acting, Engine};
pub(crate) use caller::{Caller, Proof};
pub(crate) use credentials::{SESSION_LENGTH, Scheme, expired_cookie, session_cookie};
#[cfg(test)]
pub(crate) use failures::{DELAYS, MAX_DELAYED};
pub(crate) use guard::{Guard, Sender, offers_basic};
pub(crate) use refusals::Refusal;
pub use start::access_refusal;
pub(crate) use turns::Turn;
#[cfg(test)]
pub(crate) use turns::{MIN_IN_PROGRESS, WINDOW};

use pool::Rights;

/// What a route requires of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing. Credentials are ignored.
    Nothing,
    /// Nothing, but credentials must be valid.
    Identity,
    /// These rights.
    Right(Rights),
    /// These rights, for all pools.
    Everywhere(Rights),
}

impl Needs {
    pub(crate) const READ: Needs = Needs::Right(Rights::Read);
    pub(crate) const USE: Needs = Needs::Right(Rights::Use);
    pub(crate) const OPERATE: Needs = Needs::Right(Rights::Operate);
    pub(crate) const ADMIN: Needs = Needs::Right(Rights::Admin);
}
