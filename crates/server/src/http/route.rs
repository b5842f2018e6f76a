//! Routes: paths, methods, and the rules that depend on them. A request's route is looked up once.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use pool::Allocation;
use tower::Service;

use super::access::Needs;
use super::ids::PathParams;
use super::query::percent_decode;
use crate::problem::{Code, Problem};
use crate::settings::{MAX_BODY, MAX_DOCUMENT};

/// Kind of a route, which decides the checks and limits of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads memory or one row.
    Read,
    /// Reads much of the database, or stays open. Checked although browsers hide the response from a page of
    /// another site: the request still costs the server.
    CostlyRead,
    /// Changes data.
    Write,
    /// Changes data by a document of pools, which may be large.
    Document,
    /// Changes data, and may wait for a token.
    Wait,
    /// Health, for callers by any host name.
    Probe,
    /// Metrics.
    Metrics,
}

impl Kind {
    /// Whether requests from pages of other origins are refused.
    pub(crate) const fn checks_origin(self) -> bool {
        match self {
            Kind::CostlyRead | Kind::Write | Kind::Document | Kind::Wait => true,
            Kind::Read | Kind::Probe | Kind::Metrics => false,
        }
    }

    /// Whether the request's host must be one of the server's.
    pub(crate) const fn checks_host(self) -> bool {
        !matches!(self, Kind::Probe)
    }

    /// Whether requests are served even at the limits of connections and memory.
    pub(crate) const fn is_reserved(self) -> bool {
        matches!(self, Kind::Probe | Kind::Metrics)
    }

    /// Whether requests only read.
    pub(crate) const fn is_read(self) -> bool {
        matches!(self, Kind::Read | Kind::CostlyRead | Kind::Metrics)
    }

    /// Whether requests of one HTTP/2 connection are limited to a few at a time.
    pub(crate) const fn is_limited_per_connection(self) -> bool {
        matches!(self, Kind::Read | Kind::CostlyRead)
    }

    /// Time limit of a response, if other requests have `request_timeout`. The engine ends waits in
    /// time; this limit is for the case that even that fails.
    pub(crate) fn time_limit(self, request_timeout: Duration) -> Duration {
        match self {
            Kind::Wait => Allocation::MAX_WAIT + 2 * request_timeout,
            _ => request_timeout,
        }
    }

    /// Maximum size of a request's body, in bytes.
    pub(crate) const fn body_limit(self) -> usize {
        match self {
            Kind::Read
            | Kind::CostlyRead
            | Kind::Write
            | Kind::Wait
            | Kind::Probe
            | Kind::Metrics => MAX_BODY,
            Kind::Document => MAX_DOCUMENT,
        }
    }
}

/// A method of a path, its kind, and what it needs.
pub(crate) type Rule = (Method, Kind, Needs);

/// A path and its handlers.
pub(crate) struct Route {
    /// The path, with names of parameters in braces.
    pub(crate) template: &'static str,
    /// Methods besides HEAD, which is the same as GET.
    pub(crate) methods: Vec<Rule>,
    pub(crate) handlers: MethodRouter,
}

/// All routes of a server.
pub(crate) struct Routes {
    paths: matchit::Router<usize>,
    routes: Vec<Route>,
}

/// The route of a request.
#[derive(Clone)]
pub(crate) struct Matched {
    /// Index of the route, by which metrics count; the number of routes for unknown paths.
    pub(crate) index: usize,
    pub(crate) template: Option<&'static str>,
    pub(crate) kind: Kind,
    /// Unknown paths and methods need nothing: their responses say only what the API reference says.
    pub(crate) needs: Needs,
    params: Option<PathParams>,
}

impl Routes {
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        let mut paths = matchit::Router::new();
        for (index, route) in routes.iter().enumerate() {
            paths.insert(route.template, index).expect("templates differ");
        }
        Routes { paths, routes }
    }

    #[cfg(test)]
    pub(crate) fn templates(&self) -> Vec<&'static str> {
        self.routes.iter().map(|route| route.template).collect()
    }

    /// Finds the route of a request. Unknown paths and methods are treated as plain reads or writes.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Matched {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let other = if method == Method::GET { Kind::Read } else { Kind::Write };
        // Most paths have no parameters, and comparing texts costs a tenth of the tree.
        let plain = self.routes.iter().position(|route| route.template == path);
        let (index, params) = match plain {
            Some(index) => (index, None),
            None => match self.paths.at(path) {
                Ok(found) => {
                    let params = found.params.iter().map(|(_, value)| percent_decode(value));
                    (*found.value, params.collect::<Option<_>>().map(PathParams))
                }
                Err(_) => (self.routes.len(), None),
            },
        };
        let route = self.routes.get(index);
        let mut rules = route.iter().flat_map(|route| &route.methods);
        let rule = rules.find(|(of, ..)| of == method);
        let (kind, needs) =
            rule.map_or((other, Needs::Nothing), |(_, kind, needs)| (*kind, *needs));
        Matched { index, template: route.map(|route| route.template), kind, needs, params }
    }

    /// Passes a request to the handler of its route.
    pub(crate) async fn call(&self, matched: Matched, mut request: Request<Body>) -> Response {
        let Some(route) = self.routes.get(matched.index) else {
            let detail =
                "Not found. The dashboard is at /, the API under /api, its reference at /docs.";
            return Problem::new(Code::UnknownPath, detail).into_response();
        };
        if let Some(params) = matched.params {
            request.extensions_mut().insert(params);
        }
        let Ok(response) = route.handlers.clone().call(request).await;
        response
    }
}

/// Handler of requests with a method that their path does not have. axum adds the header `Allow`.
pub(crate) async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not allowed here; see the Allow header.");
    Problem::new(Code::WrongMethod, detail)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    #[test]
    fn requests_that_wait_have_time_to() {
        let seconds = Duration::from_secs;
        assert_eq!(Kind::Read.time_limit(seconds(30)), seconds(30));
        assert_eq!(Kind::Wait.time_limit(seconds(30)), seconds(30 + 60 + 30));
    }

    #[test]
    fn a_request_has_the_kind_of_its_path_and_method() {
        let methods = vec![(Method::GET, Kind::CostlyRead, Needs::READ)];
        let route = Route { template: "/a/{id}", methods, handlers: get(async || "") };
        let routes = Routes::new(vec![route]);
        let kind = |method, path| routes.find(&method, path).kind;
        assert_eq!(kind(Method::GET, "/a/b"), Kind::CostlyRead);
        assert_eq!(kind(Method::HEAD, "/a/b"), Kind::CostlyRead);
        assert_eq!(kind(Method::GET, "/a"), Kind::Read);
        assert_eq!(routes.find(&Method::HEAD, "/a/b").needs, Needs::READ);
        assert_eq!(routes.find(&Method::POST, "/a/b").needs, Needs::Nothing);
        for (method, path) in [(Method::POST, "/a"), (Method::OPTIONS, "/a/b")] {
            assert_eq!(kind(method, path), Kind::Write);
        }
    }
}
