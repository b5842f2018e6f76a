//! Fixed words of members and parameters, as schemas.

use std::borrow::Cow;

use pool::{EndReason as Reason, WhenFull as Choice};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::resync::Reason as Cause;

pub(crate) fn one_of(words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
}

/// Schema types of strings with fixed values.
macro_rules! words {
    ($($(#[doc = $doc:literal])* $name:ident: $words:expr;)*) => {$(
        $(#[doc = $doc])*
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let description = concat!($($doc),*).trim();
                one_of($words).description(Some(description)).build().into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

words! {
    /// `active` while a lease holds the token.
    TokenStatus: ["available", "active"];
    /// `active` while the lease runs.
    LeaseStatus: ["active", "ended"];
    /// Status of a lease; `running` is the same as `active`.
    SearchedStatus: ["running", "active", "ended"];
    /// Why a lease ended: its holder released it, its deadline passed, another lease replaced it in a
    /// full pool, all leases were cleared, or it had ended before it was imported.
    EndReason: Reason::ALL.map(Reason::as_str);
    /// What happens to requests while all tokens are in use.
    WhenFull: Choice::ALL.map(Choice::as_str);
    /// State of the server.
    Health: ["live", "ready"];
    /// Why events may be missing.
    ResyncReason: Cause::ALL.map(Cause::as_str);
}

pub(crate) fn released() -> Object {
    one_of(["released"]).build()
}

pub(crate) fn waiting() -> Object {
    one_of(["waiting"]).build()
}

pub(crate) fn given_up() -> Object {
    one_of(["given_up"]).build()
}

pub(crate) fn cleared() -> Object {
    one_of(["All active tokens cleared"]).build()
}

pub(crate) fn no_history() -> Object {
    one_of(["No usage history found"]).build()
}
