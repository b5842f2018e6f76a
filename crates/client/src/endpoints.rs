//! Routes of the API.

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use wire::{
    ApiKey, ApiKeyPage, ApiKeyWanted, ApplyResult, AuditPage, Caller, ClearResult, History,
    KeyRotation, Lease, LeaseDetails, LeasePage, LeaseReleased, NewApiKey, Pool, PoolCleared,
    PoolDetails, PoolPage, PoolToken, PoolTokenPage, PoolsDocument, Queue, Readiness,
    ReleaseCondition, SessionsEnded, SignInCode, TaintRequest, TaintResult, TicketGivenUp, Token,
    TokenDetails, TokenReleased,
};

use crate::client::{Query, Retried, TIMEOUT};
use crate::events::EventStream;
use crate::{Client, Download, Error, Reply};

/// Time-out for the reply to a document: a large one takes long to send and to apply.
const APPLY_TIMEOUT: Duration = Duration::from_mins(2);

/// Result of a request.
type Result<T> = std::result::Result<Reply<T>, Error>;

/// Name of the pool of requests that name none.
pub const DEFAULT_POOL: &str = "default";

/// Lists of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenList {
    /// All tokens.
    All,
    /// Tokens with a running lease.
    Active,
    /// Tokens without a running lease.
    Available,
}

/// All methods fail as described at [`Error`].
#[expect(clippy::missing_errors_doc, reason = "the errors are those of every request")]
impl Client {
    /// `GET /health/live`
    pub async fn live(&self) -> Result<Readiness> {
        self.get("/health/live", &[]).await
    }

    /// `GET /health/ready`
    pub async fn ready(&self) -> Result<Readiness> {
        self.get("/health/ready", &[]).await
    }

    /// `GET /api/pool`
    pub async fn pool(&self) -> Result<Pool> {
        self.get("/api/pool", &[]).await
    }

    /// `GET /api/tokens`, `/api/tokens/active` or `/api/tokens/available`: up to `max` tokens.
    pub async fn tokens(&self, list: TokenList, max: usize) -> Result<Vec<Token>> {
        let path = match list {
            TokenList::All => "/api/tokens",
            TokenList::Active => "/api/tokens/active",
            TokenList::Available => "/api/tokens/available",
        };
        self.pages(path, &[], None, max).await
    }

    /// `GET /api/tokens`: one page.
    pub async fn token_page(&self, query: Query<'_>) -> Result<Vec<Token>> {
        self.get("/api/tokens", query).await
    }

    /// `GET /api/tokens/{id}`
    pub async fn token(&self, token: Uuid) -> Result<TokenDetails> {
        self.get(&format!("/api/tokens/{token}"), &[]).await
    }

    /// `GET /api/tokens/{id}/history`: up to `max` leases.
    pub async fn history(&self, token: Uuid, max: usize) -> Result<History> {
        self.pages(&format!("/api/tokens/{token}/history"), &[], Some("history"), max).await
    }

    /// `POST /api/tokens/release/{id}`
    pub async fn release_token(
        &self,
        token: Uuid,
        condition: &ReleaseCondition,
    ) -> Result<TokenReleased> {
        self.send(Method::POST, &format!("/api/tokens/release/{token}"), Some(condition)).await
    }

    /// `DELETE /api/tokens/clear-active`
    pub async fn clear(&self) -> Result<ClearResult> {
        self.send_empty(Method::DELETE, "/api/tokens/clear-active").await
    }

    /// `GET /api/leases`: up to `max` leases.
    pub async fn leases(&self, query: Query<'_>, max: usize) -> Result<LeasePage> {
        self.pages("/api/leases", query, Some("leases"), max).await
    }

    /// `GET /api/leases` as CSV.
    pub async fn export(&self, query: Query<'_>) -> std::result::Result<Download, Error> {
        self.download("/api/leases", &[query, &[("format", "csv")]].concat()).await
    }

    /// `GET /api/leases/{id}`
    pub async fn lease(&self, lease: Uuid) -> Result<LeaseDetails> {
        self.get(&format!("/api/leases/{lease}"), &[]).await
    }

    /// `POST /api/leases/{id}/renew`
    pub async fn renew(&self, lease: Uuid) -> Result<Lease> {
        self.send_empty(Method::POST, &format!("/api/leases/{lease}/renew")).await
    }

    /// `POST /api/leases/{id}/release`, once; see [`crate::release`].
    pub async fn release_once(&self, lease: Uuid) -> Result<LeaseReleased> {
        self.send_empty(Method::POST, &format!("/api/leases/{lease}/release")).await
    }

    /// `GET /api/queue`: up to `max` tickets.
    pub async fn queue(&self, query: Query<'_>, max: usize) -> Result<Queue> {
        self.pages("/api/queue", query, Some("tickets"), max).await
    }

    /// `DELETE /api/queue/{ticket}`
    pub async fn give_up(&self, ticket: Uuid) -> Result<TicketGivenUp> {
        self.send_empty(Method::DELETE, &format!("/api/queue/{ticket}")).await
    }

    /// `GET /api/pools`: up to `max` pools.
    pub async fn pools(&self, max: usize) -> Result<PoolPage> {
        self.pages("/api/pools", &[], Some("pools"), max).await
    }

    /// `PUT /api/pools`: applies a document, or only lists its changes if the query has `dry_run`.
    pub async fn apply(&self, document: &PoolsDocument, query: Query<'_>) -> Result<ApplyResult> {
        let request = self.request(Method::PUT, "/api/pools")?.query(query).json(document);
        self.execute(request.timeout(APPLY_TIMEOUT), Retried::No).await
    }

    /// `GET /api/pools/{pool}`
    pub async fn pool_details(&self, pool: &str) -> Result<PoolDetails> {
        self.get(&format!("/api/pools/{pool}"), &[]).await
    }

    /// `GET /api/pools/{pool}/tokens`: up to `max` tokens.
    pub async fn pool_tokens(&self, pool: &str, max: usize) -> Result<PoolTokenPage> {
        self.pages(&format!("/api/pools/{pool}/tokens"), &[], Some("tokens"), max).await
    }

    /// `GET /api/pools/{pool}/tokens/{token}`, by name or id.
    pub async fn pool_token(&self, pool: &str, token: &str) -> Result<PoolToken> {
        self.get(&format!("/api/pools/{pool}/tokens/{token}"), &[]).await
    }

    /// `POST /api/pools/{pool}/clear`
    pub async fn clear_pool(&self, pool: &str) -> Result<PoolCleared> {
        self.send_empty(Method::POST, &format!("/api/pools/{pool}/clear")).await
    }

    /// `POST /api/pools/{pool}/tokens/{token}/taints`
    pub async fn taint(
        &self,
        pool: &str,
        token: &str,
        taint: &TaintRequest,
    ) -> Result<TaintResult> {
        let path = format!("/api/pools/{pool}/tokens/{token}/taints");
        self.send(Method::POST, &path, Some(taint)).await
    }

    /// `DELETE /api/pools/{pool}/tokens/{token}/taints/{name}`
    pub async fn untaint(&self, pool: &str, token: &str, name: &str) -> Result<PoolToken> {
        let path = format!("/api/pools/{pool}/tokens/{token}/taints/{name}");
        self.send_empty(Method::DELETE, &path).await
    }

    /// `GET /api/keys`: up to `max` keys.
    pub async fn keys(&self, max: usize) -> Result<ApiKeyPage> {
        self.pages("/api/keys", &[], Some("keys"), max).await
    }

    /// `POST /api/keys`
    pub async fn create_key(&self, wanted: &ApiKeyWanted) -> Result<NewApiKey> {
        self.send(Method::POST, "/api/keys", Some(wanted)).await
    }

    /// `GET /api/keys/{key}`, by name or id.
    pub async fn key(&self, key: &str) -> Result<ApiKey> {
        self.get(&format!("/api/keys/{key}"), &[]).await
    }

    /// `POST /api/keys/{key}/rotate`
    pub async fn rotate_key(&self, key: &str, rotation: &KeyRotation) -> Result<NewApiKey> {
        self.send(Method::POST, &format!("/api/keys/{key}/rotate"), Some(rotation)).await
    }

    /// `DELETE /api/keys/{key}`
    pub async fn revoke_key(&self, key: &str) -> Result<ApiKey> {
        self.send_empty(Method::DELETE, &format!("/api/keys/{key}")).await
    }

    /// `DELETE /api/keys/{key}/sessions`
    pub async fn end_sessions(&self, key: &str) -> Result<SessionsEnded> {
        self.send_empty(Method::DELETE, &format!("/api/keys/{key}/sessions")).await
    }

    /// `GET /api/session`
    pub async fn caller(&self) -> Result<Caller> {
        self.get("/api/session", &[]).await
    }

    /// `POST /api/session/code`
    pub async fn sign_in_code(&self) -> Result<SignInCode> {
        self.send_empty(Method::POST, "/api/session/code").await
    }

    /// `GET /api/audit`: up to `max` entries.
    pub async fn audit(&self, query: Query<'_>, max: usize) -> Result<AuditPage> {
        self.pages("/api/audit", query, Some("entries"), max).await
    }

    /// `GET /api/audit/export` as CSV.
    pub async fn export_audit(&self, query: Query<'_>) -> std::result::Result<Download, Error> {
        self.download("/api/audit/export", &[query, &[("format", "csv")]].concat()).await
    }

    /// `GET /api/events`: follows the events of leases from now on.
    #[must_use]
    pub fn events(&self, query: Query<'_>) -> EventStream {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        EventStream::new(self.clone(), query.collect())
    }

    async fn send_empty<T>(&self, method: Method, path: &str) -> Result<T> {
        self.send(method, path, None::<&Value>).await
    }

    async fn send<T>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T> {
        let request = self.request(method, path)?.timeout(TIMEOUT);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.execute(request, Retried::No).await
    }
}
