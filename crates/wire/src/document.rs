//! Documents of pools: their wanted state, as `apply` sends it. Files may have further members, such as
//! `tokens_csv`, which are expanded before.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::policy::{PolicyText, policy_members};

/// Wanted state of some pools. It is applied as a whole or not at all, and applying it again changes
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolsDocument {
    /// Pools by name. Other pools stay as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<Arc<str>, PoolDocument>,
}

/// Reads a member that may be absent, but not null: null could mean both "unset" and "unchanged".
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Declares [`PoolDocument`] with a member for each field of the policy.
macro_rules! pool_document {
    ($($(#[$meta:meta])* $field:ident,)+) => {
        /// Wanted state of a pool, which is created if necessary. Absent members stay as they are or, in
        /// a new pool, have their default.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(default, deny_unknown_fields)]
        pub struct PoolDocument {
            /// Description, for people.
            #[cfg_attr(test, schemars(length(max = ::pool::Note::MAX_CHARS)))]
            #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
            pub description: Option<Arc<str>>,
            $(
                $(#[$meta])*
                #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
                pub $field: Option<PolicyText>,
            )+
            /// Tokens. Others of the pool stay, unless they are pruned.
            #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
            pub tokens: Option<Vec<TokenDocument>>,
            /// Whether other tokens of this pool stay even if tokens are pruned.
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            pub keep_other_tokens: bool,
            /// Whether the pool is deleted. Then it has no other members.
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            pub delete: bool,
        }

        impl PoolDocument {
            /// Names of the fields of the policy, in the order of the members.
            pub const POLICY: [&'static str; [$(stringify!($field)),+].len()] =
                [$(stringify!($field)),+];

            /// The fields of the policy that are present.
            pub fn policy(&self) -> impl Iterator<Item = (&'static str, &PolicyText)> {
                let fields = [$((stringify!($field), &self.$field)),+];
                fields.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
            }

            /// A field of the policy, to set it. `None` if the policy has no such field.
            pub fn policy_mut(&mut self, name: &str) -> Option<&mut Option<PolicyText>> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)+
                    _ => None,
                }
            }
        }
    };
}

policy_members!(pool_document);

/// Wanted state of a token. Absent members stay as they are or, in a new token, have their default.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TokenDocument {
    /// Name, unique within the pool. A token without one is found by its value; a new one is named by its
    /// number.
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Za-z0-9._-]{1,63}$")))]
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Value, for holders, at most 8 KiB of UTF-8 without NUL. The default is a random UUID.
    #[cfg_attr(test, schemars(length(max = ::pool::TokenValue::MAX_BYTES), regex(pattern = "^[^\\u0000]*$")))]
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub value: Option<Arc<str>>,
    /// Labels, in the syntax of Kubernetes. They replace all labels of the token.
    #[cfg_attr(test, schemars(extend("maxProperties" = ::pool::Labels::MAX)))]
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<Arc<str>, Arc<str>>>,
}

impl fmt::Debug for TokenDocument {
    /// Does not show the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map(|_| "..");
        f.debug_struct("TokenDocument")
            .field("name", &self.name)
            .field("value", &value)
            .field("labels", &self.labels)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Result<PoolsDocument, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_policy_has_the_fields_of_the_rules() {
        let fields: Vec<&str> = ::pool::Policy::FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(PoolDocument::POLICY.as_slice(), fields);
        let mut document = PoolDocument::default();
        for name in PoolDocument::POLICY {
            *document.policy_mut(name).unwrap() = Some(PolicyText(name.to_uppercase()));
        }
        assert!(document.policy().all(|(name, text)| text.0 == name.to_uppercase()));
        assert_eq!(document.policy().count(), fields.len());
        assert!(document.policy_mut("tokens").is_none());
    }

    #[test]
    fn documents_are_written_as_they_are_read() {
        let json = json!({ "pools": {
            "accounts": {
                "description": "Test accounts",
                "lease": "30m",
                "max_per_user": 2,
                "tokens": [{ "name": "a", "value": "secret", "labels": { "role": "admin" } }, {}],
                "keep_other_tokens": true,
            },
            "old": { "delete": true },
            "seats": { "max_per_user": "none", "tokens": [] },
        } });
        let document = read(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&document).unwrap(), json);
        let accounts = &document.pools["accounts"];
        assert_eq!(accounts.max_per_user, Some(PolicyText("2".to_owned())));
        assert_eq!(accounts.tokens.as_ref().unwrap()[1], TokenDocument::default());
        assert!(!format!("{document:?}").contains("secret"));
    }

    #[test]
    fn unknown_members_and_null_are_refused() {
        for pool in [
            json!({ "tokns": [] }),
            json!({ "lease": null }),
            json!({ "tokens": null }),
            json!({ "tokens": [{ "valu": "v" }] }),
            json!({ "tokens": [{ "value": null }] }),
            json!({ "lease": ["30m"] }),
        ] {
            assert!(read(json!({ "pools": { "a": pool } })).is_err(), "{pool}");
        }
        assert!(read(json!({ "pools": {}, "pool": {} })).is_err());
    }

    #[test]
    fn schemas_describe_every_member() {
        let schema = schemars::schema_for!(PoolsDocument).to_value();
        let pool = &schema["$defs"]["PoolDocument"];
        for (name, member) in pool["properties"].as_object().unwrap() {
            assert!(member["description"].is_string(), "{name}");
        }
        assert_eq!(pool["additionalProperties"], false);
        let token = &schema["$defs"]["TokenDocument"]["properties"];
        assert_eq!(token["value"]["maxLength"], ::pool::TokenValue::MAX_BYTES);
    }
}
