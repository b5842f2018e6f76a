//! Failed requests: which [`Error`] an error of the HTTP client or a response without success is.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wire::Code;

use super::Client;
use super::scheme::{expects_tls, is_not_tls};
use crate::error::cause;
use crate::server_url::has_credentials;
use crate::{Error, Problem};

impl Client {
    /// Converts an error of the HTTP client.
    pub(crate) fn failed(&self, error: reqwest::Error) -> Error {
        // The message names the server itself, without a password.
        let error = error.without_url();
        let (server, why) = (self.server(), cause(&error));
        if is_not_tls(&why) && self.base.scheme() == "https" {
            return self.wrong_scheme();
        }
        // When a proxy refuses a tunnel, reqwest reports no response, only this text.
        if server.proxy.is_some() && why.contains("proxy auth") {
            return self.credentials(407);
        }
        if error.is_connect() || error.is_builder() {
            Error::Unreachable { server, why }
        } else {
            Error::NoReply { server, why }
        }
    }

    /// Converts a response with an error status.
    pub(super) fn refused(&self, status: u16, body: &[u8], after: Option<Duration>) -> Error {
        #[derive(Deserialize)]
        struct Document {
            code: String,
            detail: String,
        }
        let json = serde_json::from_slice(body).unwrap_or(Value::Null);
        if let Ok(Document { code, detail }) = Document::deserialize(&json) {
            let code = Code::ALL.iter().find(|known| known.as_str() == code).copied();
            return Error::Refused(Box::new(Problem { status, code, detail, after, json }));
        }
        if [401, 407].contains(&status) {
            return self.credentials(status);
        }
        if self.base.scheme() == "http" && expects_tls(body) {
            return self.wrong_scheme();
        }
        let what = format!("it replied with status {status}");
        Error::NotTokenManager { what, status: Some(status), proxy: self.server().proxy }
    }

    fn credentials(&self, status: u16) -> Error {
        let by_proxy = status == 407;
        let has_password = if by_proxy {
            self.proxy.as_ref().is_some_and(|proxy| !proxy.url().username().is_empty())
        } else {
            has_credentials(&self.base)
        };
        let sent = if has_password {
            Some("user name and password")
        } else {
            self.key.as_ref().filter(|_| !by_proxy).map(|_| "API key")
        };
        Error::Credentials { server: self.server(), by_proxy, sent }
    }
}
