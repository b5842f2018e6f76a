//! The policy of a pool: one document, one table of its fields, one check.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::human::document;
use crate::words::words;
use crate::{HumanDuration, PoolName};

words! {
    /// Treatment of an allocation while all tokens are in use.
    #[derive(Default)]
    pub enum WhenFull {
        #[default]
        EvictOldest = "evict-oldest", "The oldest lease ends, once it is `min_hold` old.";
        Reject = "reject", "The allocation is refused.";
        Wait = "wait", "The allocation waits in the queue until a lease ends.";
    }
}

words! {
    /// Whether the tokens of a pool can change.
    pub enum Membership {
        Fixed = "fixed", "Tokens are neither added nor changed nor retired.";
        Open = "open", "Tokens can be added, changed and retired.";
    }
}

words! {
    /// Who sees the values of tokens.
    pub enum ShowValues {
        Everyone = "everyone", "Lists of tokens show values.";
        Holder = "holder", "Only the holder of a token receives its value.";
    }
}

/// Shortest lease.
pub const SHORTEST_LEASE: Duration = Duration::from_millis(1);

/// Longest lease that a policy may have. Deadlines have to stay within the years that databases can
/// store.
pub const LONGEST_LEASE: Duration = Duration::from_hours(24 * 365);

/// Largest limit of leases per user: more tokens than a pool can have would mean no limit.
const LARGEST_PER_USER: u32 = 1_000_000;

/// Declares [`Policy`], [`PolicyPatch`] and [`Policy::FIELDS`]. A field is one entry here, and its limits
/// one condition in [`Policy::check`].
macro_rules! policy {
    ($(
        $(#[$attribute:meta])*
        $name:ident: $type:ty = $default:expr, $(other: $other:expr,)? example: $example:expr,
        unset: $unset:expr,
        range: $range:literal,
        $description:literal;
    )+) => {
        /// The rules that the owner of a pool chooses.
        ///
        /// The serialized form is one document: settings, the database and the journal use the same
        /// names. A field that an older document lacks has its default.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Policy {
            $(
                #[doc = $description]
                $(#[$attribute])*
                pub $name: $type,
            )+
        }

        /// Changes to a policy. `None` leaves a field unchanged.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PolicyPatch {
            $(
                #[doc = $description]
                pub $name: Option<$type>,
            )+
        }

        impl Policy {
            /// Policy of a new pool with the name `default`.
            pub const DEFAULT: Policy = Policy { $($name: $default),+ };

            /// Policy of a new pool with another name.
            pub const OTHER: Policy = Policy { $($($name: $other,)?)+ ..Policy::DEFAULT };

            /// A legal policy, for tests: no field has its value of a new pool with the name `default`.
            pub const EXAMPLE: Policy = Policy { $($name: $example),+ };

            /// The fields, in the order in which settings and documents list them.
            pub const FIELDS: &[PolicyField] = &[$(
                PolicyField {
                    name: stringify!($name),
                    kind: <$type as Value>::KIND,
                    unset: $unset,
                    range: $range,
                    description: $description,
                    show: |policy| policy.$name.show(),
                    read: |text, patch| {
                        patch.$name = Some(Value::read(text)?);
                        Ok(())
                    },
                },
            )+];
        }

        impl PolicyPatch {
            /// No changes.
            pub const NONE: PolicyPatch = PolicyPatch { $($name: None),+ };

            /// `policy` with these changes.
            #[must_use]
            pub fn apply(&self, policy: Policy) -> Policy {
                Policy { $($name: self.$name.unwrap_or(policy.$name)),+ }
            }
        }

        impl From<Policy> for PolicyPatch {
            /// Sets every field.
            fn from(policy: Policy) -> Self {
                PolicyPatch { $($name: Some(policy.$name)),+ }
            }
        }
    };
}

policy! {
    #[serde(with = "document")]
    lease: Duration = Duration::from_mins(2), example: Duration::from_micros(10_000_001), unset: None, range: "1ms to 365d",
        "Length of a lease, unless the request asks for a shorter one.";
    #[serde(with = "document::optional")]
    max_lease: Option<Duration> = None, example: Some(Duration::from_mins(30)), unset: Some("lease"), range: "`lease` to 365d",
        "Longest time from the start of a lease to its last renewed deadline. With `lease`, only leases that are shorter can be renewed.";
    when_full: WhenFull = WhenFull::EvictOldest, example: WhenFull::Wait, unset: None,
        range: "`evict-oldest`, `reject` or `wait`",
        "What an allocation gets while all tokens are in use.";
    #[serde(with = "document")]
    min_hold: Duration = Duration::ZERO, example: Duration::from_millis(1_500), unset: None, range: "0s to `lease`",
        "Leases younger than this are never evicted.";
    max_per_user: Option<u32> = None, example: Some(LARGEST_PER_USER), unset: Some("none"), range: "1 to 1000000",
        "Maximum number of leases that one user may have at the same time. `none` sets no limit.";
    membership: Membership = Membership::Fixed, other: Membership::Open,
        example: Membership::Open, unset: None, range: "`fixed` or `open`",
        "Whether tokens can be added, changed and retired.";
    show_values: ShowValues = ShowValues::Everyone, other: ShowValues::Holder,
        example: ShowValues::Holder, unset: None, range: "`everyone` or `holder`",
        "Who sees the values of tokens.";
}

impl Default for Policy {
    fn default() -> Self {
        Policy::DEFAULT
    }
}

/// One field of a [`Policy`].
#[derive(Clone, Copy, Debug)]
pub struct PolicyField {
    /// Name in documents. Settings write `-` for `_`; the API appends `_seconds` to durations.
    pub name: &'static str,
    /// Type of the value.
    pub kind: ValueKind,
    /// Word by which an optional field is unset, in settings.
    pub unset: Option<&'static str>,
    /// Legal values, for documents. [`Policy::check`] checks them.
    pub range: &'static str,
    /// Description, for documents: a sentence or two.
    pub description: &'static str,
    show: fn(&Policy) -> Option<String>,
    read: fn(Option<&str>, &mut PolicyPatch) -> Result<(), String>,
}

/// Type of a [`PolicyField`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A [`HumanDuration`].
    Duration,
    /// A positive number.
    Count,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl PolicyField {
    /// Name of the setting.
    #[must_use]
    pub fn setting(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The field of `policy` in the form that settings take.
    #[must_use]
    pub fn show(&self, policy: &Policy) -> String {
        let unset = self.unset.unwrap_or_default();
        (self.show)(policy).unwrap_or_else(|| unset.to_owned())
    }

    /// Reads the value of a setting into `patch`.
    ///
    /// # Errors
    ///
    /// The expected form, as the rest of a sentence that begins with the name of the setting.
    pub fn read(&self, text: &str, patch: &mut PolicyPatch) -> Result<(), String> {
        let unset = self.unset.filter(|word| *word == text);
        let value = if unset.is_some() { None } else { Some(text) };
        (self.read)(value, patch).map_err(|expected| match self.unset {
            Some(word) => format!("{expected}, or {word}"),
            None => expected,
        })
    }
}

/// A value of a field, in the form that settings take.
trait Value: Sized {
    const KIND: ValueKind;

    /// Text of the value. `None` if the field is unset.
    fn show(&self) -> Option<String>;

    fn read(text: Option<&str>) -> Result<Self, String>;
}

impl Value for Duration {
    const KIND: ValueKind = ValueKind::Duration;

    fn show(&self) -> Option<String> {
        Some(HumanDuration(*self).to_string())
    }

    fn read(text: Option<&str>) -> Result<Self, String> {
        let text = text.unwrap_or_default();
        text.parse().map(|HumanDuration(duration)| duration).map_err(|error| error.to_string())
    }
}

impl Value for u32 {
    const KIND: ValueKind = ValueKind::Count;

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn read(text: Option<&str>) -> Result<Self, String> {
        let count = text.unwrap_or_default().parse().ok();
        let count = count.filter(|count| (1..=LARGEST_PER_USER).contains(count));
        count.ok_or_else(|| format!("it is a number from 1 to {LARGEST_PER_USER}"))
    }
}

macro_rules! choices {
    ($($name:ident)+) => {$(
        impl Value for $name {
            const KIND: ValueKind = ValueKind::Choice(&$name::WORDS);

            fn show(&self) -> Option<String> {
                Some(self.as_str().to_owned())
            }

            fn read(text: Option<&str>) -> Result<Self, String> {
                let choice = $name::from_word(text.unwrap_or_default());
                choice.ok_or_else(|| format!("it is one of {}", $name::WORDS.join(", ")))
            }
        }
    )+};
}

choices! { WhenFull Membership ShowValues }

impl<T: Value> Value for Option<T> {
    const KIND: ValueKind = T::KIND;

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Value::show)
    }

    fn read(text: Option<&str>) -> Result<Self, String> {
        text.map(|text| T::read(Some(text))).transpose()
    }
}

/// A policy that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {rule}", setting = field.replace('_', "-"))]
pub struct InvalidPolicy {
    /// [`PolicyField::name`] of the wrong field.
    pub field: &'static str,
    rule: String,
}

impl Policy {
    /// Policy of a new pool with this name.
    #[must_use]
    pub fn of_new(name: &PoolName) -> Self {
        if name.is_default() { Policy::DEFAULT } else { Policy::OTHER }
    }

    /// The default policy with leases of this length.
    #[must_use]
    pub const fn of_lease(lease: Duration) -> Self {
        Policy { lease, ..Policy::DEFAULT }
    }

    /// Longest time from the start of a lease to its last deadline.
    #[must_use]
    pub fn max_lease(&self) -> Duration {
        self.max_lease.unwrap_or(self.lease)
    }

    /// The policy in whole microseconds, as databases store it, if it is legal.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] for the first field that is out of range.
    pub fn check(self) -> Result<Self, InvalidPolicy> {
        let policy = Policy {
            lease: whole_micros(self.lease),
            max_lease: self.max_lease.map(whole_micros),
            min_hold: whole_micros(self.min_hold),
            ..self
        };
        let Policy { lease, min_hold, .. } = policy;
        let max_lease = policy.max_lease();
        let invalid = |field, rule| Err(InvalidPolicy { field, rule });
        let [shown_lease, shown_max, shown_hold, shortest, longest] =
            [lease, max_lease, min_hold, SHORTEST_LEASE, LONGEST_LEASE].map(HumanDuration);
        let allowed = SHORTEST_LEASE..=LONGEST_LEASE;
        if !allowed.contains(&lease) {
            return invalid("lease", format!("({shown_lease}) must be {shortest} to {longest}"));
        }
        if max_lease < lease {
            let rule = format!("({shown_max}) can't be shorter than lease ({shown_lease})");
            return invalid("max_lease", rule);
        }
        if !allowed.contains(&max_lease) {
            return invalid("max_lease", format!("({shown_max}) must be at most {longest}"));
        }
        if min_hold > lease {
            let rule = format!("({shown_hold}) can't be longer than lease ({shown_lease})");
            return invalid("min_hold", rule);
        }
        if policy.max_per_user.is_some_and(|most| !(1..=LARGEST_PER_USER).contains(&most)) {
            return invalid("max_per_user", format!("must be 1 to {LARGEST_PER_USER}, or unset"));
        }
        Ok(policy)
    }
}

fn whole_micros(duration: Duration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
