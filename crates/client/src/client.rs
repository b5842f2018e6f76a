//! Single requests to a server.

mod failure;
mod pages;
mod scheme;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{DATE, HeaderName, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use reqwest::{ClientBuilder, Method, RequestBuilder, Response, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::scheme::Retried;

use self::pages::next_page;
use self::scheme::Contact;
use crate::error::cause;
use crate::proxy::Proxy;
use crate::server_url;
use crate::{Error, Server};

/// Query parameters, as names and values.
pub type Query<'a> = &'a [(&'a str, &'a str)];

/// Time-out for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time-out for a reply, beyond the time spent in the queue: slightly longer than the server's own time-outs.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(35);

/// Maximum size of a reply in memory. The largest page, 1000 rows with names of 255 characters, is far smaller.
const MAX_REPLY_BYTES: usize = 8 << 20;

/// Maximum size of a problem document.
const MAX_PROBLEM_BYTES: usize = 64 << 10;

/// Maximum `Retry-After` that the client respects.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Builds an HTTP client for one server, with the proxy that the environment names for it. Without any
/// trusted certificate on this machine it still works for `http://` servers. It does not follow
/// redirects, because a request may carry secrets that only the named server may see.
///
/// # Errors
///
/// The environment names an unusable proxy, or TLS can't be set up.
pub fn http_client(
    server: &Url,
    builder: impl Fn() -> ClientBuilder,
) -> Result<(reqwest::Client, Option<Proxy>), String> {
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
    client.map(|client| (client, proxy)).map_err(|error| cause(&error))
}

/// HTTP client of one server. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    proxy: Option<Proxy>,
    contact: Arc<Contact>,
}

/// Successful reply of a server, with JSON of the type `T`.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// JSON as the server sent it.
    pub json: Value,
    /// Server time of the reply, to the second, if it has a `Date` header.
    pub at: Option<Timestamp>,
    /// Path of the next page.
    pub next: Option<String>,
    /// Size in bytes.
    size: usize,
    /// Proxy of the connection, without a password.
    proxy: Option<String>,
    content: PhantomData<fn() -> T>,
}

impl<T> Reply<T> {
    pub(crate) fn typed<U>(self) -> Reply<U> {
        let Reply { json, at, next, size, proxy, .. } = self;
        Reply { json, at, next, size, proxy, content: PhantomData }
    }
}

impl<T: DeserializeOwned> Reply<T> {
    /// Parses the JSON.
    ///
    /// # Errors
    ///
    /// [`Error::NotTokenManager`] when it has another shape.
    pub fn read(&self) -> Result<T, Error> {
        T::deserialize(&self.json)
            .map_err(|error| Error::not_token_manager(error.to_string()).via(self.proxy.clone()))
    }
}

impl Client {
    /// Creates a client for a server's URL, such as `http://localhost:4000`. Sends nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`].
    pub fn new(server: &str) -> Result<Self, Error> {
        let invalid = |why: String| {
            // An invalid URL has no parsed password, so everything before the last `@` is hidden.
            let shown = server.rsplit_once('@').map_or(server, |(_, host)| host);
            Error::InvalidUrl { server: shown.to_owned(), why }
        };
        let base = server_url::parse(server).map_err(invalid)?;
        let agent = concat!("token-manager/", env!("CARGO_PKG_VERSION"));
        let builder =
            || reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).user_agent(agent);
        let (http, proxy) = http_client(&base, builder).map_err(invalid)?;
        Ok(Client { http, base, proxy, contact: Arc::default() })
    }

    /// Returns the server's URL without a password, for messages.
    #[must_use]
    pub fn url(&self) -> String {
        server_url::without_password(&self.base)
    }

    /// Returns the server as error messages name it.
    pub fn server(&self) -> Server {
        Server {
            url: self.url(),
            host: self.base.host_str().unwrap_or_default().to_owned(),
            proxy: self.proxy.as_ref().map(Proxy::shown),
        }
    }

    /// Sends `GET` for a path such as `/api/pool`.
    pub(crate) async fn get<T>(&self, path: &str, query: Query<'_>) -> Result<Reply<T>, Error> {
        let request = self.request(Method::GET, path)?.query(query).timeout(TIMEOUT);
        self.execute(request, Retried::No).await
    }

    /// Sends `GET` for a long reply, which may take any time.
    pub(crate) async fn download(&self, path: &str, query: Query<'_>) -> Result<Download, Error> {
        let request = self.request(Method::GET, path)?.query(query).send();
        let sent = tokio::time::timeout(TIMEOUT, request).await;
        let sent = sent.map_err(|_| self.no_reply("the reply did not begin in time"))?;
        let response = self.received(sent, Retried::No).await?;
        Ok(Download { client: self.clone(), response: self.checked(response).await? })
    }

    /// Creates an [`Error::NoReply`] of this server.
    pub fn no_reply(&self, why: impl Into<String>) -> Error {
        Error::NoReply { server: self.server(), why: why.into() }
    }

    /// Creates an [`Error::NotTokenManager`] of this server.
    pub fn not_token_manager(&self, what: impl Into<String>) -> Error {
        Error::not_token_manager(what).via(self.server().proxy)
    }

    /// Builds a request for a path, or for a link of a reply, which must stay on this server.
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let url = self.base.join(path.trim_start_matches('/'));
        let mut url = url.map_err(|error| self.not_token_manager(error.to_string()))?;
        if url.origin() != self.base.origin() || !url.path().starts_with(self.base.path()) {
            let what = format!("its list continues at another address: {path}");
            return Err(self.not_token_manager(what));
        }
        // An absolute link has no credentials. Setting them fails only for URLs that can't have any.
        let _ = url.set_username(self.base.username());
        let _ = url.set_password(self.base.password());
        Ok(self.http.request(method, url))
    }

    /// Sends a request and reads its reply.
    pub(crate) async fn execute<T>(
        &self,
        request: RequestBuilder,
        retried: Retried,
    ) -> Result<Reply<T>, Error> {
        let response = self.received(request.send().await, retried).await?;
        let at = header(&response, &DATE).and_then(date);
        let next = header(&response, &LINK).and_then(next_page);
        let mut response = self.checked(response).await?;
        let body = self.body(&mut response, MAX_REPLY_BYTES).await?;
        let body = body.ok_or_else(|| self.not_token_manager(too_large(MAX_REPLY_BYTES)))?;
        let json = serde_json::from_slice(&body)
            .map_err(|_| self.not_token_manager("its reply is not JSON"))?;
        let (size, proxy) = (body.len(), self.server().proxy);
        Ok(Reply { json, at, next, size, proxy, content: PhantomData })
    }

    /// Returns the response, or the reason why none arrived.
    pub(crate) async fn received(
        &self,
        sent: reqwest::Result<Response>,
        retried: Retried,
    ) -> Result<Response, Error> {
        match sent {
            Ok(response) => {
                self.contact.replied();
                Ok(response)
            }
            Err(error) => Err(self.detect_scheme(self.failed(error), retried).await),
        }
    }

    /// Turns responses with an error status into errors.
    pub(crate) async fn checked(&self, mut response: Response) -> Result<Response, Error> {
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
        let after = after.map(Duration::from_secs).map(|after| after.min(MAX_RETRY_AFTER));
        let body = self.body(&mut response, MAX_PROBLEM_BYTES);
        let body = tokio::time::timeout(TIMEOUT, body).await;
        let body = body.map_err(|_| self.no_reply("the reply did not end in time"))??;
        Err(self.refused(status.as_u16(), &body.unwrap_or_default(), after))
    }

    /// Reads a body. Returns None when it is larger than `max` bytes.
    async fn body(&self, response: &mut Response, max: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.failed(error))? {
            if body.len() + piece.len() > max {
                return Ok(None);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Some(body))
    }

    fn redirected(&self, requested: &Url, to: &str) -> Error {
        let Ok(mut to) = requested.join(to) else {
            return self.not_token_manager("it redirects to an invalid URL");
        };
        // Credentials from the server are not repeated.
        let _ = (to.set_username(""), to.set_password(None));
        to.set_query(None);
        let below = requested.path().strip_prefix(self.base.path()).unwrap_or_default();
        let base = to.as_str().strip_suffix(below).unwrap_or(to.as_str()).trim_end_matches('/');
        let instead = base.to_owned();
        Error::Redirected { server: self.server(), to: to.into(), instead }
    }
}

/// Body of a long reply, read in pieces.
#[derive(Debug)]
pub struct Download {
    client: Client,
    response: Response,
}

impl Download {
    /// Returns the next piece, or None at the end.
    ///
    /// # Errors
    ///
    /// [`Error::NoReply`] when the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = tokio::time::timeout(TIMEOUT, self.response.chunk()).await;
        let piece =
            piece.map_err(|_| self.client.no_reply("the reply did not continue in time"))?;
        piece.map_err(|error| self.client.failed(error))
    }
}

fn too_large(max: usize) -> String {
    format!("its reply is larger than {} MiB", max >> 20)
}

fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name).map(HeaderValue::to_str)?.ok()
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}
