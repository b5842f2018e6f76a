use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum_server::tls::TlsInfo;
use engine::{Handle, Scope};
use pool::{Access, ApiKeyId, Rights, SecretHash, SessionKind, User};

use super::caller::{Caller, Proof};
use super::credentials::{Credentials, Scheme};
use super::failures::{self, Failures, TooMany};
use super::proxy;
use super::rate::Buckets;
use super::refusals::{Refusal, Refusals};
use super::turns::{Sharer, Turn, Turns};
use super::{Acting, Needs, certificate};
use crate::http::origin::{is_from_here, is_local};
use crate::net::activity::Client;
use crate::problem::{Code, Problem};
use crate::settings::{Anonymous, Settings, TrustedUser};

/// Sender of a request, as far as it is known.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) address: IpAddr,
    /// The API key.
    pub(crate) key: Option<ApiKeyId>,
    /// The user that a proxy named.
    pub(crate) user: Option<User>,
}

/// Decides who sends a request, and whether that caller may.
pub(crate) struct Guard {
    engine: Handle,
    anonymous: Anonymously,
    trusted_user: Option<TrustedUser>,
    tls: bool,
    failures: Failures,
    of_keys: Buckets<ApiKeyId>,
    of_addresses: Buckets<IpAddr>,
    requests_per_second: Option<u32>,
    turns: Turns,
    pub(crate) refusals: Refusals,
}

/// Rights of callers without a key.
#[derive(Clone, Copy)]
enum Anonymously {
    /// These, always.
    Always(Option<Rights>),
    /// All while the ledger has no key.
    WithoutKeys,
}

impl Anonymously {
    fn new(settings: &Settings) -> Self {
        match settings.anonymous {
            Some(Anonymous::None) => Anonymously::Always(None),
            Some(Anonymous::Read) => Anonymously::Always(Some(Rights::Read)),
            Some(Anonymous::Use) => Anonymously::Always(Some(Rights::Use)),
            None if !settings.loopback => Anonymously::Always(None),
            None if settings.trust_loopback => Anonymously::Always(Some(Rights::Admin)),
            None => Anonymously::WithoutKeys,
        }
    }
}

impl Guard {
    pub(crate) fn new(engine: Handle, settings: &Settings) -> Self {
        Guard {
            engine,
            anonymous: Anonymously::new(settings),
            trusted_user: settings.trusted_user.clone(),
            tls: settings.tls.is_some(),
            failures: Failures::new(),
            of_keys: Buckets::new(),
            of_addresses: Buckets::new(),
            requests_per_second: settings.requests_per_second,
            turns: Turns::new(),
            refusals: Refusals::default(),
        }
    }

    /// Returns the caller of a request, if it may do what the route `needs`. The request gets its caller and, for
    /// sessions, its scheme. The `sender` gets its key, also of a refused request.
    pub(crate) async fn admit(
        &self,
        head: &mut Parts,
        needs: Needs,
        sender: &mut Sender,
    ) -> Result<Option<Acting>, Problem> {
        if needs == Needs::Nothing {
            return Ok(None);
        }
        if let Some(trusted) = &self.trusted_user {
            sender.user = proxy::user(trusted, &head.headers, sender.address)?;
        }
        let caller = self.identify(head, needs, sender).await?;
        sender.key = caller.key_id();
        if let Some(key) = sender.key {
            self.engine.key_used(key);
        }
        self.limit(&caller, sender.address)?;
        permit(&caller, needs)?;
        if needs == Needs::Identity {
            let local = is_local(&head.uri, &head.headers);
            head.extensions.insert(Scheme::of(&head.headers, self.tls, local));
        }
        head.extensions.insert(caller.clone());
        Ok(Some(Acting::new(&self.engine, caller)))
    }

    async fn identify(
        &self,
        head: &Parts,
        needs: Needs,
        sender: &Sender,
    ) -> Result<Caller, Problem> {
        let address = sender.address;
        let local = !self.tls && is_local(&head.uri, &head.headers);
        match Credentials::of(&head.headers, local) {
            Credentials::Nothing => self.without_credentials(head, needs, sender).await,
            Credentials::Malformed => Err(self.failed(address).await),
            Credentials::Key(plain) => match self.engine.key_of(&plain).await? {
                Some(key) => Ok(Caller::Key { key, proof: Proof::Secret(plain.hash()) }),
                None => Err(self.failed(address).await),
            },
            Credentials::Cookie(secret) => {
                let hash = SecretHash::of(&secret);
                let found = self.engine.session_of(&hash).await?;
                let Some((session, key)) =
                    found.filter(|(session, _)| session.kind == SessionKind::Browser)
                else {
                    // Browsers keep cookies of sessions that are over.
                    let caller = self.without_credentials(head, needs, sender).await?;
                    return match permit(&caller, needs) {
                        Ok(()) => Ok(caller),
                        Err(_) => Err(self.failed(address).await),
                    };
                };
                check_origin(head)?;
                let proof = Proof::Session { hash, expires_at: session.expires_at };
                Ok(Caller::Key { key, proof })
            }
        }
    }

    /// The caller of a request without credentials of its own: a user of a proxy, the key that a client certificate
    /// names, or a caller without a key.
    async fn without_credentials(
        &self,
        head: &Parts,
        needs: Needs,
        sender: &Sender,
    ) -> Result<Caller, Problem> {
        if let (Some(user), Some(trusted)) = (&sender.user, &self.trusted_user) {
            check_origin(head)?;
            let valid = |access: &Access, now| {
                access.find(&trusted.key).filter(|key| key.is_valid(now)).cloned()
            };
            let key = self.engine.look_up(valid).await?.ok_or_else(|| {
                let detail = "The API key of --trusted-user-key does not exist, or has expired.";
                Problem::new(Code::Unauthenticated, detail)
            })?;
            return Ok(Caller::Key { key, proof: Proof::Proxy(user.clone()) });
        }
        let (tls, client) =
            (head.extensions.get::<Arc<TlsInfo>>(), head.extensions.get::<Client>());
        let names =
            tls.zip(client).map(|(tls, client)| client.certificate(|| certificate::names(tls)));
        let mut found = None;
        for name in names.unwrap_or_default() {
            let look = |access: &Access, now| {
                access.key_named(name).map(|key| (Arc::clone(key), key.is_valid(now)))
            };
            let Some((key, is_valid)) = self.engine.look_up(look).await? else { continue };
            if found.is_some() || !is_valid {
                return Err(self.failed(sender.address).await);
            }
            found = Some(key);
        }
        match found {
            Some(key) => Ok(Caller::Key { key, proof: Proof::Certificate }),
            None => self.anonymous(needs).await,
        }
    }

    async fn anonymous(&self, needs: Needs) -> Result<Caller, Problem> {
        let rights = match self.anonymous {
            Anonymously::Always(rights) => {
                return Ok(Caller::Anonymous { rights, without_keys: false });
            }
            Anonymously::WithoutKeys => {
                let look = |access: &Access| access.is_empty().then_some(Rights::Admin);
                match self.engine.access(|access, _| look(access)) {
                    Some(rights) => rights,
                    // Metrics have nothing about pools before the ledger is loaded.
                    None if needs == Needs::Everywhere(Rights::Read) => Some(Rights::Read),
                    None => {
                        let look = |view: engine::View<'_>| look(view.ledger.access());
                        self.engine.read_of(Scope::Timeless, look).await?
                    }
                }
            }
        };
        Ok(Caller::Anonymous { rights, without_keys: rights.is_some() })
    }

    /// Whether the sender of these headers may read all pools, by this server's copy of the keys, so that the answer
    /// does not depend on the database. Only cookies count, as browsers send them for pages.
    pub(crate) fn reads_all(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let without_key = match self.anonymous {
            Anonymously::Always(rights) => rights.is_some(),
            Anonymously::WithoutKeys => {
                self.engine.access(|access, _| access.is_empty()).unwrap_or(false)
            }
        };
        let signed_in = || {
            let Credentials::Cookie(secret) = Credentials::of(headers, is_local(uri, headers))
            else {
                return false;
            };
            let hash = SecretHash::of(&secret);
            let all = |access: &Access, now| {
                access.session(&hash, now).is_some_and(|(_, key)| key.pools.match_everything())
            };
            self.engine.access(all).unwrap_or(false)
        };
        without_key || signed_in()
    }

    /// The problem with a wrong key, after a delay.
    pub(crate) async fn failed(&self, address: IpAddr) -> Problem {
        if let Err(TooMany) = self.failures.delay(address).await {
            let detail = "Too many requests with wrong API keys arrive at the moment. Try again after the time in \
                          Retry-After.";
            return Problem::new(Code::TooManyRequests, detail);
        }
        Problem::new(Code::Unauthenticated, "The API key is wrong, has expired or was revoked.")
    }

    fn limit(&self, caller: &Caller, address: IpAddr) -> Result<(), Problem> {
        let (taken, what, limit) = match caller {
            Caller::Key { key, .. } => {
                let Some(limit) = key.max_requests_per_second else { return Ok(()) };
                (self.of_keys.take(key.id, limit), "API key (max_requests_per_second)", limit)
            }
            Caller::Anonymous { .. } => {
                let Some(limit) = self.requests_per_second else { return Ok(()) };
                let network = failures::network(address);
                (
                    self.of_addresses.take(network, limit),
                    "address (setting requests-per-second)",
                    limit,
                )
            }
        };
        taken.map_err(|retry_after| {
            let requests = if limit == 1 { "request" } else { "requests" };
            let detail = format!(
                "The limit of {limit} {requests} per second of this {what} is reached. Try again after the time in \
                 Retry-After."
            );
            Problem::new(Code::TooManyRequests, detail).after(retry_after)
        })
    }

    /// Waits for the turn of a request of this caller; None if no other caller is active.
    pub(crate) async fn turn(&self, acting: Option<&Acting>, address: IpAddr) -> Option<Turn> {
        let sharer = match acting.map(|acting| &acting.caller) {
            Some(Caller::Key { key, proof: Proof::Proxy(user) }) => Sharer::User(key.id, user.id),
            Some(Caller::Key { key, .. }) => Sharer::Key(key.id),
            Some(Caller::Anonymous { .. }) | None => Sharer::Address(failures::network(address)),
        };
        self.turns.take(sharer).await
    }

    /// Keeps a refused request for administrators.
    pub(crate) fn refused(
        &self,
        &Sender { address, key, .. }: &Sender,
        (method, route): (&'static str, Option<&'static str>),
        code: Code,
    ) {
        if let Some(at) = self.engine.access(|_, now| now) {
            self.refusals.push(Refusal { at, address, key, method, route, code });
        }
    }
}

/// Checks the origin of a change by a browser with a cookie, also on routes that others may use from anywhere.
fn check_origin(head: &Parts) -> Result<(), Problem> {
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    if is_read || is_from_here(&head.uri, &head.headers) {
        return Ok(());
    }
    let detail = "A change with a session cookie must come from this server's own pages: the browser sends Origin or \
                  Sec-Fetch-Site. Programs send an API key instead of a cookie.";
    Err(Problem::new(Code::CrossOrigin, detail))
}

/// Refuses a caller that lacks what the route needs.
fn permit(caller: &Caller, needs: Needs) -> Result<(), Problem> {
    let (needed, everywhere) = match needs {
        Needs::Nothing | Needs::Identity => return Ok(()),
        Needs::Right(needed) => (needed, false),
        Needs::Everywhere(needed) => (needed, true),
    };
    if !caller.may(needed) {
        return Err(match caller {
            Caller::Key { .. } => crate::problem::forbidden_problem(pool::Forbidden::Right(needed)),
            Caller::Anonymous { .. } => {
                let detail = format!(
                    "This needs an API key with the right `{}`: send Authorization: Bearer tm_..., or sign in.",
                    needed.as_str()
                );
                Problem::new(Code::Unauthenticated, detail)
            }
        });
    }
    if everywhere && !caller.has_all_pools() {
        let detail = "This is about all pools. It needs an API key that applies to all of them (its member pools has *).";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Ok(())
}

/// Whether the challenge `Basic` may be part of a response. A browser would open its own dialog for requests of a page.
pub(crate) fn offers_basic(headers: &HeaderMap) -> bool {
    !headers.contains_key("sec-fetch-mode")
}
