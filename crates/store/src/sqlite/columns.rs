//! The columns of leases, once for all statements.

/// Columns of a lease with their types, in the order in which `rows` reads and writes them.
pub const LEASE_COLUMNS: [(&str, &str); 15] = [
    ("id", "blob"),
    ("pool", "integer"),
    ("token_id", "blob"),
    ("user_id", "blob"),
    ("user_name", "text"),
    ("fence", "integer"),
    ("previous_fence", "integer"),
    ("started_at", "integer"),
    ("granted_until", "integer"),
    ("expires_at", "integer"),
    ("ended_at", "integer"),
    ("end_reason", "text"),
    ("note", "text"),
    ("granted_by", "text"),
    ("ended_by", "text"),
];
