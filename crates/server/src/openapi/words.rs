//! The words that members and parameters may hold, as the document lists them.

use std::borrow::Cow;

use pool::{EndReason as Reason, WhenFull as Choice};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::events::text::Reason as Cause;

fn one_of(words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
}

/// Types that stand for a text which is one of some words.
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
    /// `active` while somebody holds the token.
    TokenStatus: ["available", "active"];
    /// `active` while the lease runs.
    LeaseStatus: ["active", "ended"];
    /// As answers say it, or `running`, which is the same as `active`.
    SearchedStatus: ["running", "active", "ended"];
    /// Given back, its time was up, the pool was full and it was the oldest, all were ended together,
    /// or it was over when it was taken over from another system.
    EndReason: Reason::ALL.map(Reason::as_str);
    /// What a request gets while every token is held.
    WhenFull: Choice::ALL.map(Choice::as_str);
    /// How the server is.
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
