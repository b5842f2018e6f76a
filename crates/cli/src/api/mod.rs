//! A server's HTTP API, as the commands for people use it. They can do nothing that any other
//! client can't.

mod allocation;
mod events;
mod failure;
mod jitter;
mod model;
mod pages;
mod proxy;
mod refusal;
mod scheme;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ValueHint};
use jiff::Timestamp;
use reqwest::header::{DATE, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use events::{Follow, News, Told, Word};
use pages::next_page;
use proxy::Proxy;
use scheme::{Contact, Repeats};

pub use allocation::{Allocation, LONGEST_WAIT, Ticket, Wish};
pub use failure::{Failure, Problem, Server};
pub use jitter::jittered;
pub use model::{Allocated, Lease, Leases, Policy, PoolView, Token, Usage, Usages};
pub use refusal::explain;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for an answer, beyond the time that is spent waiting for a token: a little
/// longer than the server takes at most before it gives up itself.
const TIMEOUT: Duration = Duration::from_secs(35);

/// Maximum bytes of an answer that is kept in memory. The largest page is well below: 1000 rows with
/// names of 255 characters.
const LARGEST_ANSWER: usize = 8 << 20;

/// Maximum bytes of the document that says why a request was refused.
const LARGEST_PROBLEM: usize = 64 << 10;

/// How long a server may tell to stay away.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The environment variable that names the server.
pub const SERVER_ENV: &str = "TOKEN_MANAGER_SERVER";

/// The environment variable that names the user to act for.
pub const USER_ENV: &str = "TOKEN_MANAGER_USER";

/// The server that is asked if none is named.
pub const DEFAULT_SERVER: &str = "http://localhost:4000";

/// The option that names the server.
pub fn server() -> Arg {
    Arg::new("server")
        .long("server")
        .value_name("URL")
        .env(SERVER_ENV)
        .value_hint(ValueHint::Url)
        .hide_env_values(true)
        .help(format!("The server to ask [default: `config set server`, else {DEFAULT_SERVER}]"))
}

/// A client for one server. A machine need not have any authority's certificate to ask by http.
/// Redirects are not followed, since a request may hold what only that server is to know.
///
/// # Errors
///
/// When none can be made, or the environment names a proxy that can't be used.
pub fn client_of(
    server: &Url,
    builder: impl Fn() -> ClientBuilder,
) -> Result<(Client, Option<Proxy>), String> {
    let proxy = Proxy::of(server, |name| std::env::var(name).ok())?;
    let builder = || -> reqwest::Result<ClientBuilder> {
        let builder = builder().redirect(redirect::Policy::none()).no_proxy();
        Ok(match &proxy {
            Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.url().clone())?),
            None => builder,
        })
    };
    let client = builder().and_then(ClientBuilder::build).or_else(|error| match server.scheme() {
        "http" => builder()?.tls_certs_only([]).build(),
        _ => Err(error),
    });
    client.map(|client| (client, proxy)).map_err(|error| failure::cause(&error))
}

/// A server, by its address.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    base: Url,
    proxy: Option<Proxy>,
    /// Whether the server speaks HTTP, as far as is known.
    contact: Arc<Contact>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The JSON, as it was sent.
    pub json: Value,
    /// The server's time, to the second, where it told it.
    pub at: Option<Timestamp>,
    /// The path of the next page.
    pub next: Option<String>,
    /// How many bytes it was.
    size: usize,
    /// The proxy by which it came, without a password.
    proxy: Option<String>,
}

impl Answer {
    /// The same, understood.
    ///
    /// # Errors
    ///
    /// [`Failure::Strange`] when this is not what a `TokenManager` answers.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.json)
            .map_err(|error| Failure::strange(error.to_string()).through(self.proxy.clone()))
    }
}

impl Api {
    /// The server at an address such as `http://localhost:4000`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Failure::Address`] when that is no address.
    pub fn at(server: &str) -> Result<Self, Failure> {
        let wrong = |why: String| {
            // Nothing tells where a password would be in what is no address.
            let shown = server.rsplit_once('@').map_or(server, |(_, host)| host);
            Failure::Address { server: shown.to_owned(), why }
        };
        if server.is_empty() {
            // The default is another server, which is not asked instead.
            let why =
                "it is empty; name one, or unset the environment variable TOKEN_MANAGER_SERVER";
            return Err(wrong(why.to_owned()));
        }
        let with_scheme =
            if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let mut base = Url::parse(&with_scheme).map_err(|error| wrong(error.to_string()))?;
        if !["http", "https"].contains(&base.scheme()) || !base.has_host() {
            return Err(wrong("it has to begin with http:// or https://".to_owned()));
        }
        // `http//host` and `http:/host` would be a path on a host `http`.
        let is_scheme = matches!(base.host_str(), Some("http" | "https")) && base.port().is_none();
        if is_scheme && (!server.contains("://") || base.path().starts_with("//")) {
            return Err(wrong("it has to begin with http:// or https://".to_owned()));
        }
        if base.path().contains('@') {
            return Err(wrong("a user and a password come right before the host".to_owned()));
        }
        // So that what is joined to it goes below it, also behind a proxy's prefix.
        base.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        base.set_query(None);
        base.set_fragment(None);
        let agent = concat!("token-manager/", env!("CARGO_PKG_VERSION"));
        let builder = || Client::builder().connect_timeout(CONNECT_TIMEOUT).user_agent(agent);
        let (client, proxy) = client_of(&base, builder).map_err(wrong)?;
        Ok(Api { client, base, proxy, contact: Arc::default() })
    }

    /// The address, as errors name it: without a password.
    pub fn shown(&self) -> String {
        let mut shown = self.base.clone();
        // Fails only for addresses that have no place for one.
        let _ = shown.set_password(None);
        shown.as_str().trim_end_matches('/').to_owned()
    }

    /// The server, as messages name it.
    pub fn server(&self) -> Server {
        Server {
            url: self.shown(),
            host: self.base.host_str().unwrap_or_default().to_owned(),
            proxy: self.proxy.as_ref().map(Proxy::shown),
        }
    }

    /// Reads what is at a path such as `/api/pool`, with a query.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.answer(self.request(Method::GET, path)?.query(query).timeout(TIMEOUT), Repeats::No)
            .await
    }

    /// Begins to read what may be long, such as an export. It takes as long as it takes.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says.
    pub async fn download(&self, path: &str, query: &[(&str, &str)]) -> Result<Download, Failure> {
        let request = self.request(Method::GET, path)?.query(query).send();
        let begun = tokio::time::timeout(TIMEOUT, request).await;
        let begun = begun.map_err(|_| self.lost("it did not begin to answer"))?;
        let response = self.received(begun, Repeats::No).await?;
        Ok(Download { api: self.clone(), response: self.checked(response).await? })
    }

    /// That there is no answer.
    pub fn lost(&self, why: impl Into<String>) -> Failure {
        Failure::Lost { server: self.server(), why: why.into() }
    }

    /// Sends a request that changes something, with a body or none.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(method, path)?.timeout(TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request, Repeats::No).await
    }

    /// Follows what happens to leases from now on, and connects again whenever it has to.
    pub fn follow(&self, query: &[(&str, &str)]) -> Follow {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Follow::new(self.clone(), query.collect())
    }

    /// A request for a path, which may be one that the server named.
    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.base.join(path.trim_start_matches('/'));
        let mut url = url.map_err(|error| self.strange(error.to_string()))?;
        if url.origin() != self.base.origin() || !url.path().starts_with(self.base.path()) {
            return Err(self.strange(format!("it goes on at another address: {path}")));
        }
        // A whole address has no credentials. Fails only for addresses that have no place for any.
        let _ = url.set_username(self.base.username());
        let _ = url.set_password(self.base.password());
        Ok(self.client.request(method, url))
    }

    async fn answer(&self, request: RequestBuilder, repeats: Repeats) -> Result<Answer, Failure> {
        let response = self.received(request.send().await, repeats).await?;
        let at = header(&response, &DATE).and_then(date);
        let next = header(&response, &LINK).and_then(next_page);
        let mut response = self.checked(response).await?;
        let body = self.body(&mut response, LARGEST_ANSWER).await?;
        let body = body.ok_or_else(|| self.strange(too_large(LARGEST_ANSWER)))?;
        let json = serde_json::from_slice(&body)
            .map_err(|_| self.strange("what it answered is no JSON"))?;
        Ok(Answer { json, at, next, size: body.len(), proxy: self.server().proxy })
    }

    /// The response, or why there is none.
    async fn received(
        &self,
        sent: reqwest::Result<Response>,
        repeats: Repeats,
    ) -> Result<Response, Failure> {
        match sent {
            Ok(response) => {
                self.contact.answered();
                Ok(response)
            }
            Err(error) => Err(self.with_scheme(Failure::of(self, error), repeats).await),
        }
    }

    /// Something that no `TokenManager` answers.
    pub fn strange(&self, what: impl Into<String>) -> Failure {
        Failure::strange(what).through(self.server().proxy)
    }

    /// The response, if it is not an error.
    async fn checked(&self, mut response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection()
            && let Some(to) = header(&response, &LOCATION)
        {
            return Err(self.redirected(response.url(), to));
        }
        let after = header(&response, &RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        let after = after.map(Duration::from_secs).map(|after| after.min(LONGEST_PAUSE));
        let body = self.body(&mut response, LARGEST_PROBLEM);
        let body = tokio::time::timeout(TIMEOUT, body).await;
        let body = body.map_err(|_| self.lost("it did not finish its answer"))??;
        Err(Failure::refused(self, status.as_u16(), &body.unwrap_or_default(), after))
    }

    /// A response's body, unless it is larger than that.
    async fn body(&self, response: &mut Response, most: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| Failure::of(self, error))? {
            if body.len() + piece.len() > most {
                return Ok(None);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Some(body))
    }

    /// That a request for `asked` was answered with another address.
    fn redirected(&self, asked: &Url, to: &str) -> Failure {
        let Ok(mut to) = asked.join(to) else {
            return self.strange("it redirects to what is no address");
        };
        // What the server says of credentials is not repeated.
        let _ = (to.set_username(""), to.set_password(None));
        to.set_query(None);
        let below = asked.path().strip_prefix(self.base.path()).unwrap_or_default();
        let base = to.as_str().strip_suffix(below).unwrap_or(to.as_str()).trim_end_matches('/');
        let instead = base.to_owned();
        Failure::Redirected { server: self.server(), to: to.into(), instead }
    }
}

fn too_large(most: usize) -> String {
    format!("its answer is larger than {} MiB", most >> 20)
}

/// An answer that is taken piece by piece.
#[derive(Debug)]
pub struct Download {
    api: Api,
    response: Response,
}

impl Download {
    /// The next piece; None when it is whole.
    ///
    /// # Errors
    ///
    /// [`Failure::Lost`] when it broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = tokio::time::timeout(TIMEOUT, self.response.chunk()).await;
        let piece = piece.map_err(|_| self.api.lost("nothing more came"))?;
        piece.map_err(|error| Failure::of(&self.api, error))
    }
}

fn header<'a>(response: &'a Response, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    response.headers().get(name).map(HeaderValue::to_str)?.ok()
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}
