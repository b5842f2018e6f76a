//! The columns of leases, once for all statements.

/// Columns of a lease with their types, in the order in which `rows` reads and writes them.
pub const LEASE_COLUMNS: [(&str, &str); 15] = [
    ("id", "uuid"),
    ("pool", "integer"),
    ("token_id", "uuid"),
    ("user_id", "uuid"),
    ("user_name", "text"),
    ("fence", "bigint"),
    ("previous_fence", "bigint"),
    ("started_at", "timestamptz"),
    ("granted_until", "timestamptz"),
    ("expires_at", "timestamptz"),
    ("ended_at", "timestamptz"),
    ("end_reason", "text"),
    ("note", "text"),
    ("granted_by", "text"),
    ("ended_by", "text"),
];
