//! Access control: API keys with their rights, sessions of browsers, and what both may do.

mod act;
mod command;
mod key;
mod pattern;
mod plain;
mod rights;
mod sender;
mod session;
mod table;

pub use act::{Act, Action, Actor};
pub use command::{AccessCommand, AccessDone, AccessRefusal, Forbidden};
pub use key::{ApiKey, ApiKeyId, InvalidKeyId, InvalidSecrets, Secret, SecretHash, Secrets};
pub use pattern::{InvalidPattern, Patterns};
pub use plain::{InvalidApiKey, PlainKey};
pub use rights::Rights;
pub use sender::Sender;
pub use session::{Session, SessionKind};
pub use table::Access;
