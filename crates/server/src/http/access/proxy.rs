//! Users that a proxy authenticated.

use std::net::IpAddr;

use axum::http::HeaderMap;
use pool::User;

use crate::problem::{Code, Problem};
use crate::settings::TrustedUser;

/// The user in the header of a trusted proxy. None without the header.
///
/// The header of another address is an error, not ignored: the sender wants to be someone, or the proxy's address is
/// missing in the settings.
pub(super) fn user(
    trusted: &TrustedUser,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Option<User>, Problem> {
    let TrustedUser { header, proxies, .. } = trusted;
    let mut values = headers.get_all(header).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let address = address.to_canonical();
    if !proxies.iter().any(|proxy| proxy.contains(&address)) {
        let detail =
            format!("The header {header} is accepted only from the addresses of --trusted-proxy.");
        return Err(Problem::new(Code::Unauthenticated, detail));
    }
    // A proxy that adds its value to that of a client makes two, or one with a comma.
    let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default().trim();
    let user = Some(text).filter(|text| values.next().is_none() && !text.contains(','));
    let user = user.and_then(|text| User::new(text).ok()).ok_or_else(|| {
        let detail =
            format!("The header {header} must have one value, a user name without commas.");
        Problem::new(Code::Unauthenticated, detail)
    })?;
    Ok(Some(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_is_accepted_from_the_proxies_only() {
        let proxies =
            ["10.1.0.0/16", "2001:db8::/64", "192.0.2.7/32"].map(|net| net.parse().unwrap());
        let header = axum::http::HeaderName::from_static("x-user");
        let trusted = TrustedUser { header, proxies: proxies.into(), key: "proxy".to_owned() };
        let of = |values: &[&str], address: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-user", value.parse().unwrap());
            }
            let user = user(&trusted, &headers, address.parse().unwrap());
            user.map(|user| user.map(|user| user.name.to_string()))
                .map_err(|problem| problem.code())
        };
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::9", "192.0.2.7"] {
            assert_eq!(of(&["ann"], address), Ok(Some("ann".to_owned())), "{address}");
            assert_eq!(of(&[], address), Ok(None));
        }
        for address in ["10.2.0.1", "127.0.0.1", "::1", "192.0.2.8", "::a01:203"] {
            assert_eq!(of(&["ann"], address), Err(Code::Unauthenticated), "{address}");
            assert_eq!(of(&[], address), Ok(None));
        }
        let long = "a".repeat(User::MAX_CHARS + 1);
        for values in [&[""][..], &[" "], &["ann", "bob"], &["ann", ""], &["ann,bob"], &[&long]] {
            assert_eq!(of(values, "10.1.2.3"), Err(Code::Unauthenticated), "{values:?}");
        }
    }
}
