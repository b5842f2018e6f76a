//! Parameters and headers that operations share.

use serde_json::{Value, json};

use crate::MAX_ROWS;

/// A parameter of a request.
#[derive(Clone, Copy)]
pub(super) enum Parameter {
    TokenId,
    LeaseId,
    Ticket,
    Limit,
    AfterPosition,
    AfterTicket,
    AfterLease,
    Before,
    User,
    OfToken,
    OfTokenNamed,
    Status,
    EndReason,
    From,
    To,
    At,
    LastEventId,
    LastEventIdHeader,
    IfNoneMatch,
    IdempotencyKey,
    Prefer,
    Pool,
    Token,
    Taint,
    AfterPool,
    KeySearch,
    AfterNumber,
    OfPools,
    OfPool,
    DryRun,
    Prune,
    EndLeases,
    IfMatch,
    IfNew,
    ApiKey,
    Everywhere,
    ActingKey,
    Action,
    ActedPool,
    ActedFrom,
    ActedTo,
    BeforeEntry,
    Format,
}

impl Parameter {
    pub(super) fn describe(self) -> Value {
        let (place, name, description, schema) = self.row();
        json!({
            "name": name,
            "in": place,
            "description": description,
            "required": place == "path",
            "schema": schema,
        })
    }

    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn row(self) -> (&'static str, &'static str, &'static str, Value) {
        let uuid = json!({ "type": "string", "format": "uuid" });
        let time = json!({ "type": "string", "format": "date-time" });
        let text = json!({ "type": "string" });
        let whole = |least: u64, most: u64| json!({ "type": "integer", "format": "int64", "minimum": least, "maximum": most });
        let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
        let event_id = || pattern("^([0-9]{1,18}(-[0-9]{1,18}){1,2})?$");
        match self {
            Parameter::TokenId => ("path", "id", "Id of the token", uuid),
            Parameter::LeaseId => ("path", "id", "Id of the lease", uuid),
            Parameter::Ticket => ("path", "ticket", "Id of the ticket", uuid),
            Parameter::Limit => (
                "query",
                "limit",
                format!("Maximum number of rows, 1 to {MAX_ROWS} (default)").leak(),
                whole(1, MAX_ROWS.into()),
            ),
            Parameter::AfterPosition => (
                "query",
                "after",
                "Cursor of the next page, from the `Link` header",
                whole(0, u32::MAX.into()),
            ),
            Parameter::AfterTicket => {
                ("query", "after", "Cursor of the next page, from `next`", whole(0, (1 << 53) - 1))
            }
            Parameter::AfterLease => (
                "query",
                "after",
                "Cursor of the next page, from `next`",
                pattern("^-?[0-9]{1,18}\\.[0-9]{1,18}$"),
            ),
            Parameter::Before => (
                "query",
                "before",
                "Cursor of the next page, from `next`: only leases with a smaller fence",
                json!({ "type": "integer", "format": "int64", "minimum": 1 }),
            ),
            Parameter::User => (
                "query",
                "user",
                "Only leases of this user, named as in an allocation",
                json!({ "type": "string", "minLength": 1, "maxLength": ::pool::User::MAX_CHARS, "pattern": "^[^\\u0000]*$" }),
            ),
            Parameter::OfToken => ("query", "token_id", "Only leases of this token", uuid),
            Parameter::OfTokenNamed => (
                "query",
                "token",
                "Only leases of the pool's token with this name or id, also if it is retired. Of several \
                 tokens that had the name, the last",
                text,
            ),
            Parameter::Status => (
                "query",
                "status",
                "Only running leases (`running` or `active`), or only ended ones (`ended`)",
                json!({ "$ref": "#/components/schemas/SearchedStatus" }),
            ),
            Parameter::EndReason => (
                "query",
                "end_reason",
                "Only leases that ended for this reason",
                json!({ "$ref": "#/components/schemas/EndReason" }),
            ),
            Parameter::From => {
                ("query", "from", "Only leases that started at this time or later", time)
            }
            Parameter::To => ("query", "to", "Only leases that started before this time", time),
            Parameter::At => ("query", "at", "Only leases that were running at this time", time),
            Parameter::LastEventId => (
                "query",
                "last_event_id",
                "Same as the header `Last-Event-ID`, which takes precedence",
                event_id(),
            ),
            Parameter::LastEventIdHeader => (
                "header",
                "Last-Event-ID",
                "Id of the last event that the client received",
                event_id(),
            ),
            Parameter::IfNoneMatch => {
                ("header", "If-None-Match", "`ETag` of the version that the client has", text)
            }
            Parameter::IdempotencyKey => (
                "header",
                "Idempotency-Key",
                "Identifies a repeated request: for 24 hours, the same request with the same key returns the \
                 same lease. 1 to 255 printable ASCII characters, with or without double quotes (inside \
                 quotes, write `\\\"` and `\\\\`)",
                json!({
                    "type": "string",
                    "minLength": 1,
                    "pattern": r#"^([!#-~]([ -~]{0,253}[!-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
                }),
            ),
            Parameter::Prefer => (
                "header",
                "Prefer",
                "`wait=N`: maximum seconds, up to 60, for which the server holds a waiting request with an \
                 `Idempotency-Key`",
                json!({ "type": "string", "examples": ["wait=10"] }),
            ),
            other => other.row_of_pools(),
        }
    }

    /// Parameters of requests about pools.
    fn row_of_pools(self) -> (&'static str, &'static str, &'static str, Value) {
        let text = json!({ "type": "string" });
        let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
        let pool_name = || pattern("^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$");
        let token_name = || pattern("^[A-Za-z0-9._-]{1,63}$");
        let flag = || json!({ "type": "boolean" });
        match self {
            Parameter::Pool => ("path", "pool", "Name of the pool", pool_name()),
            Parameter::Token => ("path", "token", "Name or id of the token", token_name()),
            Parameter::Taint => ("path", "name", "Name of the taint", token_name()),
            Parameter::AfterPool => {
                ("query", "after", "Cursor of the next page, from `next`", text)
            }
            Parameter::KeySearch => (
                "query",
                "search",
                "Only keys whose name contains this text or whose id begins with it, in upper or lower case",
                text,
            ),
            Parameter::AfterNumber => (
                "query",
                "after",
                "Cursor of the next page, from `next`",
                json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX }),
            ),
            Parameter::OfPools => (
                "query",
                "pool",
                "Name of a pool, or `*` for all pools; `default` without the parameter. With it, rows have \
                 the names of pool and token, and the note",
                pattern("^([a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?|\\*)$"),
            ),
            Parameter::OfPool => {
                ("query", "pool", "Name of the pool; `default` without the parameter", pool_name())
            }
            Parameter::DryRun => {
                ("query", "dry_run", "`true`: answer with the changes, and make none", flag())
            }
            Parameter::Prune => (
                "query",
                "prune",
                "`true`: retire tokens that the document does not name, in pools whose tokens it names",
                flag(),
            ),
            Parameter::EndLeases => {
                ("query", "end_leases", "`true`: end the running leases of deleted pools", flag())
            }
            Parameter::IfMatch => (
                "header",
                "If-Match",
                "`ETag` of the pool, or `*` for any: the request fails with 412 if the pool has another one",
                text,
            ),
            Parameter::IfNew => (
                "header",
                "If-None-Match",
                "`*`: the request fails with 412 if the pool exists",
                text,
            ),
            other => other.row_of_access(),
        }
    }

    /// Parameters of requests about API keys, sessions and the audit log.
    fn row_of_access(self) -> (&'static str, &'static str, &'static str, Value) {
        let text = json!({ "type": "string" });
        let time = json!({ "type": "string", "format": "date-time" });
        let key_name = || json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,63}$" });
        match self {
            Parameter::ApiKey => ("path", "key", "Id or name of the API key", key_name()),
            Parameter::Everywhere => (
                "query",
                "everywhere",
                "`true`: end all sessions of the key",
                json!({ "type": "boolean" }),
            ),
            Parameter::ActingKey => {
                ("query", "key", "Only actions by the API key with this id or name", key_name())
            }
            Parameter::Action => (
                "query",
                "action",
                "Only actions of this kind",
                json!({ "$ref": "#/components/schemas/AuditAction" }),
            ),
            Parameter::ActedPool => ("query", "pool", "Only actions about this pool", text),
            Parameter::ActedFrom => ("query", "from", "Only actions at this time or later", time),
            Parameter::ActedTo => ("query", "to", "Only actions before this time", time),
            Parameter::BeforeEntry => (
                "query",
                "before",
                "Cursor of the next page, from `next`: only entries with a smaller number",
                json!({ "type": "integer", "format": "int64", "minimum": 1 }),
            ),
            Parameter::Format => (
                "query",
                "format",
                "`csv` (default) or `ndjson`",
                json!({ "type": "string", "enum": ["csv", "ndjson"] }),
            ),
            _ => unreachable!("the others have their row"),
        }
    }
}

/// A header of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Header {
    XRequestId,
    RetryAfter,
    Allow,
    ETag,
    NoStore,
    NoCache,
    PrivateNoCache,
    Link,
    Location,
    Vary,
    ContentDisposition,
    XAccelBuffering,
    SetCookie,
    WwwAuthenticate,
}

impl Header {
    pub(super) const ALL: [Header; 14] = [
        Header::XRequestId,
        Header::RetryAfter,
        Header::Allow,
        Header::ETag,
        Header::NoStore,
        Header::NoCache,
        Header::PrivateNoCache,
        Header::Link,
        Header::Location,
        Header::Vary,
        Header::ContentDisposition,
        Header::XAccelBuffering,
        Header::SetCookie,
        Header::WwwAuthenticate,
    ];

    /// Adds a reference to the headers of an answer.
    pub(super) fn add_to(self, headers: &mut Value) {
        headers[self.row().0] = json!({ "$ref": format!("#/components/headers/{self:?}") });
    }

    pub(super) fn describe(self) -> Value {
        let (_, description) = self.row();
        let schema = match self {
            Header::RetryAfter => json!({ "type": "integer", "minimum": 1 }),
            Header::XRequestId => json!({ "type": "string", "minLength": 1, "maxLength": 200 }),
            _ => json!({ "type": "string" }),
        };
        let required = !matches!(self, Header::Link);
        json!({ "description": description, "required": required, "schema": schema })
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Header::XRequestId => ("X-Request-Id", "Id of the request: as sent, or a new one"),
            Header::RetryAfter => ("Retry-After", "Seconds to wait before the next request"),
            Header::Allow => ("Allow", "Allowed methods"),
            Header::ETag => ("ETag", "Version of the answer"),
            Header::NoStore => ("Cache-Control", "`no-store`"),
            Header::NoCache => ("Cache-Control", "`no-cache`: revalidate before each use"),
            Header::PrivateNoCache => {
                ("Cache-Control", "`private, no-cache`: revalidate before each use")
            }
            Header::Link => ("Link", "Next page, if one exists: `<PATH>; rel=\"next\"`"),
            Header::Location => {
                ("Location", "Path of the ticket, of the new token, or of the new API key")
            }
            Header::Vary => ("Vary", "`accept`"),
            Header::ContentDisposition => ("Content-Disposition", "Name of the file"),
            Header::XAccelBuffering => {
                ("X-Accel-Buffering", "`no`: proxies must not buffer the stream")
            }
            Header::SetCookie => ("Set-Cookie", "The session, or its removal"),
            Header::WwwAuthenticate => {
                ("WWW-Authenticate", "`Bearer` and, for other clients than pages, `Basic`")
            }
        }
    }
}
