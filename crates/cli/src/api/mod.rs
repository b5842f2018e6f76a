//! A server's HTTP API, as the commands for people use it. They can do nothing that any other
//! client can't.

mod events;
mod failure;
mod model;
mod proxy;

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ValueHint};
use jiff::Timestamp;
use reqwest::header::{DATE, HeaderValue, LINK, LOCATION};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use events::{Follow, News, Told, Word};
use proxy::Proxy;

pub use failure::{Failure, Problem, Server};
pub use model::{Allocated, Lease, Leases, Policy, PoolView, Token, Usage, Usages};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for an answer, beyond the time that is spent waiting for a token: a little
/// longer than the server takes at most before it gives up itself.
const TIMEOUT: Duration = Duration::from_secs(35);

/// How many rows a page has at most.
const PAGE: usize = 1000;

/// Maximum number of pages of a list. A search may answer pages without rows, one for each 100,000
/// leases that it has looked at.
const PAGES: usize = 100_000;

/// Maximum bytes of an answer that is kept in memory. The largest page is well below: 1000 rows with
/// names of 255 characters.
const LARGEST_ANSWER: usize = 8 << 20;

/// Maximum bytes of all pages of a list together. The tokens of the largest pool fit.
const LARGEST_LIST: usize = 512 << 20;

/// Maximum bytes of the document that says why a request was refused.
const LARGEST_PROBLEM: usize = 64 << 10;

/// The option that names the server.
pub fn server() -> Arg {
    Arg::new("server")
        .long("server")
        .value_name("URL")
        .env("TOKEN_MANAGER_SERVER")
        .default_value("http://localhost:4000")
        .value_hint(ValueHint::Url)
        .hide_env_values(true)
        .help("The server to ask")
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
}

impl Answer {
    /// The same, understood.
    ///
    /// # Errors
    ///
    /// [`Failure::Strange`] when this is not what a `TokenManager` answers.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.json).map_err(|error| Failure::strange(error.to_string()))
    }
}

/// What is asked for when a token is.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who asks.
    pub user: String,
    /// How long the lease is to last, where that is not left to the pool.
    pub lease: Option<Duration>,
    /// How long to wait for a token, where that is not left to the pool.
    pub wait: Option<Duration>,
    /// Makes the request recognisable when it has to be repeated.
    pub key: String,
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
        Ok(Api { client, base, proxy })
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
        self.answer(self.request(Method::GET, path)?.query(query).timeout(TIMEOUT)).await
    }

    /// As [`Api::get`] for a list that comes in pages, until `most` rows are there or there are no
    /// more; in that case there is no next page. `rows` names the member that has the rows; a list
    /// that is an array has none.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says.
    pub async fn pages(
        &self,
        path: &str,
        query: &[(&str, &str)],
        rows: Option<&str>,
        most: usize,
    ) -> Result<Answer, Failure> {
        let limit = most.min(PAGE).to_string();
        let mut answer = self.get(path, &[query, &[("limit", &limit)]].concat()).await?;
        let mut all = take_rows(&mut answer.json, rows)?;
        // A server whose pages lead back to one of them would be asked for ever.
        let (mut seen, mut size) = (HashSet::new(), answer.size);
        while all.len() < most
            && let Some(next) = answer.next.take()
        {
            let path = limited(&next, most - all.len());
            if !seen.insert(next) || seen.len() > PAGES {
                return Err(Failure::strange("its list has no end"));
            }
            let mut page = self.get(&path, &[]).await?;
            size += page.size;
            if size > LARGEST_LIST {
                return Err(Failure::strange(too_large(LARGEST_LIST)));
            }
            all.append(&mut take_rows(&mut page.json, rows)?);
            answer = page;
        }
        match rows {
            Some(rows) => answer.json[rows] = Value::Array(all),
            None => answer.json = Value::Array(all),
        }
        Ok(answer)
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
        let response = begun.map_err(|error| Failure::of(self, error))?;
        Ok(Download { api: self.clone(), response: self.checked(response).await? })
    }

    /// That there is no answer.
    pub fn lost(&self, why: impl Into<String>) -> Failure {
        Failure::Lost { server: self.server(), why: why.into() }
    }

    /// Asks for a token, once.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says.
    pub async fn allocate_once(&self, wish: &Wish) -> Result<Answer, Failure> {
        let mut body = json!({ "user_id": wish.user });
        for (name, time) in [("lease_seconds", wish.lease), ("wait_seconds", wish.wait)] {
            if let Some(time) = time {
                body[name] = time.as_secs_f64().into();
            }
        }
        // A pool whose policy is to wait lets wait for half a minute when nothing is said.
        let wait = wish.wait.unwrap_or(Duration::from_secs(30));
        let request = self.request(Method::POST, "/api/tokens/allocate")?;
        self.answer(
            request.header("Idempotency-Key", &wish.key).json(&body).timeout(TIMEOUT + wait),
        )
        .await
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
        self.answer(request).await
    }

    /// Follows what happens to leases from now on, and connects again whenever it has to.
    pub fn follow(&self, query: &[(&str, &str)]) -> Follow {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Follow::new(self.clone(), query.collect())
    }

    /// A request for a path, which may be one that the server named.
    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.base.join(path.trim_start_matches('/'));
        let mut url = url.map_err(|error| Failure::strange(error.to_string()))?;
        if url.origin() != self.base.origin() || !url.path().starts_with(self.base.path()) {
            return Err(Failure::strange(format!("it goes on at another address: {path}")));
        }
        // A whole address has no credentials. Fails only for addresses that have no place for any.
        let _ = url.set_username(self.base.username());
        let _ = url.set_password(self.base.password());
        Ok(self.client.request(method, url))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request.send().await.map_err(|error| Failure::of(self, error))?;
        let at = header(&response, &DATE).and_then(date);
        let next = header(&response, &LINK).and_then(next_page);
        let mut response = self.checked(response).await?;
        let body = self.body(&mut response, LARGEST_ANSWER).await?;
        let body = body.ok_or_else(|| Failure::strange(too_large(LARGEST_ANSWER)))?;
        let json = serde_json::from_slice(&body)
            .map_err(|_| Failure::strange("what it answered is no JSON"))?;
        Ok(Answer { json, at, next, size: body.len() })
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
        let body = self.body(&mut response, LARGEST_PROBLEM);
        let body = tokio::time::timeout(TIMEOUT, body).await;
        let body = body.map_err(|_| self.lost("it did not finish its answer"))??;
        Err(Failure::refused(self, status.as_u16(), &body.unwrap_or_default()))
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
            return Failure::strange("it redirects to what is no address");
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

/// The path of a next page, with fewer rows where fewer are wanted.
fn limited(next: &str, rows: usize) -> String {
    let (path, query) = next.split_once('?').unwrap_or((next, ""));
    // A server leaves out what is its default.
    let rest = query.split('&').filter(|part| !part.starts_with("limit="));
    let limit = format!("limit={}", rows.min(PAGE));
    let query: Vec<&str> = std::iter::once(limit.as_str()).chain(rest).collect();
    format!("{path}?{}", query.join("&"))
}

fn take_rows(json: &mut Value, rows: Option<&str>) -> Result<Vec<Value>, Failure> {
    let rows = match rows {
        Some(name) => json.get_mut(name).map(Value::take),
        None => Some(json.take()),
    };
    match rows {
        Some(Value::Array(rows)) => Ok(rows),
        _ => Err(Failure::strange("it answered no list")),
    }
}

fn header<'a>(response: &'a Response, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    response.headers().get(name).map(HeaderValue::to_str)?.ok()
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

/// The path in `<path>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (path, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| path.to_owned())
}
