//! A server's HTTP API, as the commands for people use it. They can do nothing that any other
//! client can't.

mod events;
mod failure;
mod model;

use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ValueHint};
use jiff::Timestamp;
use reqwest::header::{DATE, HeaderValue, LINK};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use events::{Follow, News, Told, Word};
pub use failure::{Failure, Problem};
pub use model::{Allocated, Lease, Leases, Policy, PoolView, Token, Usage, Usages};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for an answer, beyond the time that is spent waiting for a token: a little
/// longer than the server takes at most before it gives up itself.
const TIMEOUT: Duration = Duration::from_secs(35);

/// How many rows a page has at most.
const PAGE: usize = 1000;

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

/// A client for addresses of that scheme. A machine need not have any authority's certificate to ask
/// by http.
///
/// # Errors
///
/// When none can be made.
pub fn client_of(scheme: &str, builder: impl Fn() -> ClientBuilder) -> reqwest::Result<Client> {
    builder().build().or_else(|error| match scheme {
        "http" => builder().tls_certs_only([]).build(),
        _ => Err(error),
    })
}

/// A server, by its address.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    base: Url,
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
}

impl Answer {
    /// The same, understood.
    ///
    /// # Errors
    ///
    /// [`Failure::Strange`] when this is not what a `TokenManager` answers.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.json).map_err(|error| Failure::Strange { what: error.to_string() })
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
        let client =
            client_of(base.scheme(), builder).map_err(|error| wrong(failure::cause(&error)))?;
        Ok(Api { client, base })
    }

    /// The address, as errors name it: without a password.
    pub fn shown(&self) -> String {
        let mut shown = self.base.clone();
        // Fails only for addresses that have no place for one.
        let _ = shown.set_password(None);
        shown.as_str().trim_end_matches('/').to_owned()
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
        while all.len() < most
            && let Some(next) = &answer.next
        {
            let mut page = self.get(&limited(next, most - all.len()), &[]).await?;
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

    fn lost(&self, why: &str) -> Failure {
        Failure::Lost { server: self.shown(), why: why.to_owned() }
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

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.base.join(path.trim_start_matches('/'));
        let url = url.map_err(|error| Failure::Strange { what: error.to_string() })?;
        Ok(self.client.request(method, url))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request.send().await.map_err(|error| Failure::of(self, error))?;
        let at = header(&response, &DATE).and_then(date);
        let next = header(&response, &LINK).and_then(next_page);
        let response = self.checked(response).await?;
        let body = response.bytes().await.map_err(|error| Failure::of(self, error))?;
        let json = serde_json::from_slice(&body)
            .map_err(|_| Failure::Strange { what: "what it answered is no JSON".to_owned() })?;
        Ok(Answer { json, at, next })
    }

    /// The response, if it is not an error.
    async fn checked(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| Failure::of(self, error))?;
        Err(Failure::refused(status.as_u16(), &body))
    }
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
        _ => Err(Failure::Strange { what: "it answered no list".to_owned() }),
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
