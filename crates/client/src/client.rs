//! Single requests to a server.

mod failure;
mod pages;
mod scheme;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use reqwest::{ClientBuilder, Method, RequestBuilder, Response, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::scheme::Retried;

use self::pages::next_page;
use self::scheme::Contact;
use crate::error::cause;
use crate::proxy::{Proxy, is_this_machine};
use crate::server_url;
use crate::{ApiKey, Error, Options, Server};

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
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<ApiKey>,
    proxy: Option<Proxy>,
    contact: Arc<Contact>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The base URL may have a password.
        f.debug_struct("Client").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// Successful reply of a server, with JSON of the type `T`.
#[derive(Clone)]
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

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The JSON may have secrets.
        f.debug_struct("Reply")
            .field("at", &self.at)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
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
    /// Creates a client for a server's URL, such as `http://localhost:4000`, without a key. Sends nothing.
    ///
    /// # Errors
    ///
    /// As [`Client::with`].
    pub fn new(server: &str) -> Result<Self, Error> {
        Client::with(server, &Options::default())
    }

    /// Creates a client with options. Sends nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`]; [`Error::InsecureKey`] when others could read the key on its way.
    pub fn with(server: &str, options: &Options) -> Result<Self, Error> {
        let invalid = |why| invalid_url(server, why);
        let base = server_url::parse(server).map_err(invalid)?;
        let key = options.key.clone().filter(|_| !server_url::has_credentials(&base));
        let has_key = key.is_some() || server_url::has_key(&base);
        let is_private = base.scheme() == "https" || is_this_machine(&base);
        if has_key && !is_private && !options.insecure_http {
            return Err(Error::InsecureKey { url: server_url::without_credentials(&base) });
        }
        let agent = concat!("token-manager/", env!("CARGO_PKG_VERSION"));
        let builder = || {
            let builder = reqwest::Client::builder();
            options.apply(builder.connect_timeout(CONNECT_TIMEOUT).user_agent(agent))
        };
        let (http, proxy) = http_client(&base, builder).map_err(invalid)?;
        Ok(Client { http, base, key, proxy, contact: Arc::default() })
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
        let request = self.http.request(method, url);
        Ok(match &self.key {
            Some(key) => request.header(AUTHORIZATION, key.header()),
            None => request,
        })
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

/// A server's URL in the form in which equal servers have equal URLs, without user name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// The URL.
    pub url: String,
    /// Whether the URL as given has a user name or password.
    pub has_credentials: bool,
    /// Whether one of them is an API key.
    pub has_key: bool,
}

impl ServerName {
    /// Reads a server's URL.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`].
    pub fn of(server: &str) -> Result<Self, Error> {
        let url = server_url::parse(server).map_err(|why| invalid_url(server, why))?;
        let (has_credentials, has_key) =
            (server_url::has_credentials(&url), server_url::has_key(&url));
        Ok(ServerName { url: server_url::without_credentials(&url), has_credentials, has_key })
    }
}

fn invalid_url(server: &str, why: String) -> Error {
    // An invalid URL has no parsed password, so everything before the last `@` is hidden.
    let shown = server.rsplit_once('@').map_or(server, |(_, host)| host);
    Error::InvalidUrl { server: shown.to_owned(), why }
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

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "tm_0123456789ab_secret_check";

    fn with_key(server: &str, insecure_http: bool) -> Result<Client, Error> {
        // As the program does at its start. Another test may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::with(server, &Options::with_key(ApiKey::new(KEY), insecure_http))
    }

    fn authorization(client: &Client) -> Option<String> {
        let request = client.request(Method::GET, "/api/pool").unwrap().build().unwrap();
        let value = request.headers().get(AUTHORIZATION)?;
        assert!(value.is_sensitive());
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_key_is_not_sent_over_plain_http_to_another_machine() {
        for server in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            let client = with_key(server, false).unwrap();
            assert_eq!(authorization(&client).unwrap(), format!("Bearer {KEY}"), "{server}");
        }
        for server in
            ["http://tokens.example", "http://10.0.0.1:4000", &format!("http://x:{KEY}@h.example")]
        {
            let error = with_key(server, false).unwrap_err();
            assert!(matches!(error, Error::InsecureKey { .. }), "{server}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
            assert!(with_key(server, true).is_ok(), "{server}");
        }
        assert!(Client::new("http://ann:hunter2@tokens.example").is_ok(), "no key");
    }

    #[test]
    fn credentials_of_the_url_come_before_the_key() {
        let client = with_key("http://ann:hunter2@localhost:1", false).unwrap();
        assert!(authorization(&client).unwrap().starts_with("Basic "));
    }

    #[test]
    fn keys_and_passwords_are_not_printed() {
        for server in [
            "http://localhost".to_owned(),
            format!("http://{KEY}@localhost"),
            format!("http://ann:{KEY}@localhost"),
            "http://ann:secret@localhost".to_owned(),
        ] {
            let client = with_key(&server, false).unwrap();
            let shown = format!("{client:?} {} {:?}", client.url(), client.server());
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn equal_servers_have_equal_names() {
        for (server, url, has_credentials) in [
            ("localhost:4000", "http://localhost:4000", false),
            ("http://LOCALHOST:4000/", "http://localhost:4000", false),
            ("https://ann:pw@tokens.example:443/a/", "https://tokens.example/a", true),
        ] {
            let name = ServerName::of(server).unwrap();
            assert_eq!((name.url.as_str(), name.has_credentials), (url, has_credentials));
        }
        assert!(ServerName::of(&format!("http://a:{KEY}@h")).unwrap().has_key);
        assert!(ServerName::of("").is_err());
    }
}
