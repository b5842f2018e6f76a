//! Sessions of browsers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use engine::Handle;
use pool::{
    Access, AccessCommand, AccessDone, AccessRefusal, ApiKey, PlainKey, SecretHash, Session,
};
use wire::{SessionVia, SignInCode};

use super::keys::{refused, unexpected};
use crate::http::access::{
    Acting, Caller, Guard, Proof, SESSION_LENGTH, Scheme, expired_cookie, session_cookie,
};
use crate::http::form::FieldValue;
use crate::http::json_body::{self, JsonBody};
use crate::http::query::{Parameters, Query, Values, invalid};
use crate::http::respond::uncached;
use crate::http::unsupported::EmptyBody;
use crate::json::keys::{KEY_BYTES, name, patterns};
use crate::json::time;
use crate::net::activity::Client;
use crate::problem::{Code, Problem};

/// Time for which a code is valid.
const CODE_LENGTH: Duration = Duration::from_mins(1);

const EXAMPLE: &str = "{\"key\": \"tm_...\"}";

/// Show the caller and its rights
pub(crate) async fn show(acting: Acting, Query(()): Query<()>) -> Result<Response, Problem> {
    Ok(uncached(&shown(&acting.engine, &acting.caller), KEY_BYTES))
}

/// Sign in with a browser
///
/// Always makes a new secret, so that no cookie from before can become one of a session.
pub(crate) async fn sign_in(
    acting: Acting,
    State(guard): State<Arc<Guard>>,
    Extension(scheme): Extension<Scheme>,
    client: Option<Extension<Client>>,
    Query(()): Query<()>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    if scheme == Scheme::Http {
        let detail = "Signing in over plain HTTP would reveal the API key and the session to the network. Use HTTPS, or \
                      http://localhost on the machine of the server.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let address = client.map_or(unknown, |Extension(client)| client.address());
    let secret = engine::secret();
    let (hash, length) = (SecretHash::of(&secret), SESSION_LENGTH);
    let done = match credential(&body)? {
        Credential::Key(text) => {
            let key = match PlainKey::parse(&text) {
                Ok(plain) => acting.engine.key_of(&plain).await?,
                Err(_) => None,
            };
            let Some(key) = key else { return Err(guard.failed(address).await) };
            let command = AccessCommand::StartSession { hash, length, is_code: false };
            acting.engine.acting(Some(key.id)).change_access(command).await?
        }
        Credential::Code(code) => {
            let command = AccessCommand::Redeem { code: SecretHash::of(&code), hash, length };
            let done = acting.engine.acting(None).change_access(command).await?;
            if done == Err(AccessRefusal::UnknownCode) {
                // Counted like a wrong key, with its delay.
                drop(guard.failed(address).await);
            }
            done
        }
    };
    let session = started(done)?;
    if let Caller::Key { proof: Proof::Session { hash, .. }, .. } = &acting.caller {
        // The browser forgets the session that it had. If that session can't be ended now, it expires.
        let _ = acting.engine.change_access(AccessCommand::EndSession { hash: *hash }).await;
    }
    let find = |access: &Access, _| access.key(session.key).cloned();
    let key: Option<Arc<ApiKey>> = acting.engine.access(find).flatten();
    let key = key.ok_or_else(crate::http::respond::revoked)?;
    let proof = Proof::Session { hash: session.hash, expires_at: session.expires_at };
    let mut response = uncached(&shown(&acting.engine, &Caller::Key { key, proof }), KEY_BYTES);
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(SET_COOKIE, session_cookie(&secret, scheme));
    Ok(response)
}

/// Sign out
///
/// Ends the session of the cookie, or all sessions of its key. Idempotent.
pub(crate) async fn sign_out(
    acting: Acting,
    Extension(scheme): Extension<Scheme>,
    Query(Everywhere(everywhere)): Query<Everywhere>,
) -> Result<Response, Problem> {
    let command = match &acting.caller {
        Caller::Key { proof: Proof::Proxy(_), .. } => None,
        Caller::Key { key, .. } if everywhere => Some(AccessCommand::EndSessions { key: key.id }),
        Caller::Key { proof: Proof::Session { hash, .. }, .. } => {
            Some(AccessCommand::EndSession { hash: *hash })
        }
        Caller::Key { .. } | Caller::Anonymous { .. } => None,
    };
    if let Some(command) = command {
        acting.engine.change_access(command).await?.map_err(refused)?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(SET_COOKIE, expired_cookie(scheme));
    Ok(response)
}

/// Parameter of the end of a session.
pub(crate) struct Everywhere(bool);

impl Parameters for Everywhere {
    const NAMES: &'static [&'static str] = &["everywhere"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        values.flag("everywhere").map(Everywhere)
    }
}

/// Make a code to sign in once with a browser
pub(crate) async fn code(acting: Acting, EmptyBody: EmptyBody) -> Result<Response, Problem> {
    // A session can't make another one, which would outlive it.
    if !matches!(acting.caller, Caller::Key { proof: Proof::Secret(_), .. }) {
        let detail = "Only a caller that sends an API key can make a code to sign in with.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let code = engine::secret();
    let (hash, length) = (SecretHash::of(&code), CODE_LENGTH);
    let command = AccessCommand::StartSession { hash, length, is_code: true };
    let session = started(acting.engine.change_access(command).await?)?;
    let mut response = uncached(&SignInCode { code, expires_at: time(session.expires_at) }, 128);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn started(done: Result<AccessDone, AccessRefusal>) -> Result<Session, Problem> {
    match done.map_err(refused)? {
        AccessDone::Session(session) => Ok(session),
        _ => Err(unexpected()),
    }
}

/// What a browser signs in with.
enum Credential {
    Key(String),
    Code(String),
}

fn credential(body: &[u8]) -> Result<Credential, Problem> {
    let sent = json_body::members(&["key", "code"], body, EXAMPLE)?;
    match sent {
        [FieldValue::Text(key), FieldValue::Nothing] => Ok(Credential::Key(key.into_owned())),
        [FieldValue::Nothing, FieldValue::Text(code)] => Ok(Credential::Code(code.into_owned())),
        _ => Err(invalid(format!("Send either key or code, a text: {EXAMPLE}."))),
    }
}

/// The caller and its rights.
fn shown(engine: &Handle, caller: &Caller) -> wire::Caller {
    let all = || vec!["*".to_owned()];
    let keys_exist = engine.access(|access, _| !access.is_empty()).unwrap_or(true);
    let rights = caller.rights().map(|rights| rights.as_str().into());
    match caller {
        Caller::Anonymous { .. } => {
            let everything = if rights.is_some() { all() } else { Vec::new() };
            wire::Caller {
                via: SessionVia::ANONYMOUS,
                rights,
                key: None,
                pools: everything.clone(),
                users: everything,
                expires_at: None,
                keys_exist,
            }
        }
        Caller::Key { key, proof } => {
            let expires_at = engine.access(|access, _| caller.expires_at(access)).flatten();
            wire::Caller {
                via: match proof {
                    Proof::Secret(_) => SessionVia::KEY,
                    Proof::Session { .. } => SessionVia::SESSION,
                    Proof::Certificate => SessionVia::CERTIFICATE,
                    Proof::Proxy(_) => SessionVia::PROXY,
                },
                rights,
                key: Some(name(key)),
                pools: patterns(&key.pools),
                users: match proof {
                    Proof::Proxy(user) => vec![user.name.to_string()],
                    _ => patterns(&key.users),
                },
                expires_at: expires_at.map(time),
                keys_exist,
            }
        }
    }
}
