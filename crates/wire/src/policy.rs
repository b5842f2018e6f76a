//! The policy of a pool: as the server shows it, and as documents have it.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Membership, Seconds, ShowValues, WhenFull};

/// Rules that the owner of the pool has chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Policy {
    /// What the pool does with a request while all tokens are in use.
    pub when_full: WhenFull,
    /// Default and maximum duration that a request may ask for.
    pub lease_seconds: Seconds,
    /// Maximum duration of a lease from its start, with all renewals.
    pub max_lease_seconds: Seconds,
    /// Leases younger than this are never evicted.
    pub min_hold_seconds: Seconds,
    /// Maximum number of leases of one user at a time; null if unlimited.
    pub max_per_user: Option<u32>,
}

/// Rules that the owner of a pool has chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolPolicy {
    /// Rules about leases.
    #[serde(flatten)]
    pub leases: Policy,
    /// Whether tokens can be added, changed and retired.
    pub membership: Membership,
    /// Who sees the values of tokens.
    pub show_values: ShowValues,
}

/// Passes the members of documents to a macro.
macro_rules! policy_members {
    ($to:ident) => {
        $to! {
            /// Length of a lease, unless the request asks for a shorter one, such as `30m`.
            lease,
            /// Longest time from the start of a lease to its last renewed deadline, such as `8h`; `lease` if it is
            /// the same.
            max_lease,
            /// What an allocation gets while all tokens are in use: `evict-oldest`, `reject` or `wait`.
            when_full,
            /// Leases younger than this are never evicted.
            min_hold,
            /// Maximum number of leases that one user may have at the same time; `none` sets no limit.
            max_per_user,
            /// Whether tokens can be added, changed and retired: `fixed` or `open`.
            membership,
            /// Who sees the values of tokens: `everyone` or `holder`.
            show_values,
        }
    };
}
pub(crate) use policy_members;

/// Value of a policy's field, as the settings of a server write it: a duration such as `30m`, a word, or
/// a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyText(pub String);

impl Serialize for PolicyText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<u32>() {
            Ok(number) if number.to_string() == self.0 => serializer.serialize_u32(number),
            _ => serializer.serialize_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for PolicyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = PolicyText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<PolicyText, E> {
                Ok(PolicyText(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<PolicyText, E> {
                Ok(PolicyText(number.to_string()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<PolicyText, E> {
                Ok(PolicyText(number.to_string()))
            }
        }

        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for PolicyText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PolicyText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}
