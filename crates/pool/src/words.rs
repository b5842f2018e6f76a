/// Declares an enum whose variants each have a word and a description: the single source for lists and
/// checks.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$attribute:meta])* $variant:ident = $word:literal, $description:literal;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(
                #[doc = $description]
                #[serde(rename = $word)]
                $(#[$attribute])*
                $variant,
            )+
        }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: [$name; [$($word),+].len()] = [$($name::$variant),+];

            /// Every word, in the same order.
            pub const WORDS: [&'static str; [$($word),+].len()] = [$($word),+];

            /// The word in databases, settings and the API.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }

            /// The variant with this word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.as_str() == word)
            }

            /// The description in documents, a sentence.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $($name::$variant => $description,)+
                }
            }
        }
    };
}

pub(crate) use words;
