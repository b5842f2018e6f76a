//! The environment variables of PostgreSQL's own programs, for parameters that a URL lacks.

use crate::InvalidUrl;
use crate::postgres::connect::config::invalid;

/// Each variable, and the URL's parameter whose default it is. `PGPASSWORD` is read with each
/// connection.
const DEFAULTS: [(&str, &str); 15] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSFILE", "passfile"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
];

/// Variables for features that this program lacks, with the values that request none. Ignoring them
/// could mean less protection than requested.
const UNSUPPORTED: [(&str, &[&str]); 11] = [
    ("PGSERVICE", &[]),
    ("PGSSLCERT", &[]),
    ("PGSSLKEY", &[]),
    ("PGSSLCERTMODE", &["disable", "allow"]),
    ("PGSSLCRL", &[]),
    ("PGSSLCRLDIR", &[]),
    ("PGREQUIRESSL", &["0"]),
    ("PGREQUIREPEER", &[]),
    ("PGREQUIREAUTH", &[]),
    ("PGGSSENCMODE", &["disable", "prefer"]),
    ("PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
];

/// The parameters that the environment adds to a URL, as pairs of name and value, the value
/// percent-encoded. `given`: whether the URL names that parameter itself.
pub(crate) fn defaults(
    variable: impl Fn(&str) -> Option<String>,
    given: impl Fn(&str) -> bool,
) -> Result<Vec<(&'static str, String)>, InvalidUrl> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    for (name, harmless) in UNSUPPORTED {
        if set(name).is_some_and(|value| !harmless.contains(&&*value)) {
            return invalid(&format!(
                "the environment variable {name} is set, and this program has nothing for it: \
                 unset it, and name host, port, database, user and sslmode in the URL"
            ));
        }
    }
    let names_host = given("host") || given("hostaddr");
    let open = DEFAULTS
        .into_iter()
        .filter(|(_, parameter)| !(given(parameter) || names_host && *parameter == "hostaddr"));
    Ok(open.filter_map(|(name, parameter)| Some((parameter, encoded(&set(name)?)))).collect())
}

/// The variable with the default of a parameter.
pub(crate) fn variable(parameter: &str) -> &'static str {
    DEFAULTS.iter().find(|(_, name)| *name == parameter).map_or("", |(variable, _)| variable)
}

/// Percent-encodes everything but letters, digits and the punctuation of lists and paths.
fn encoded(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b',' | b'/' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
