//! Server URLs as users write them.

use reqwest::Url;

use crate::ApiKey;

/// Parses a server's URL, such as `http://localhost:4000` or `localhost:4000`. The result ends with a slash, so
/// that joined paths stay below a proxy's prefix.
///
/// # Errors
///
/// The reason why the URL is invalid.
pub(crate) fn parse(server: &str) -> Result<Url, String> {
    if server.is_empty() {
        return Err("it is empty".to_owned());
    }
    let with_scheme =
        if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| error.to_string())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err("it has to begin with http:// or https://".to_owned());
    }
    // `http//host` and `http:/host` would be a path on a host `http`.
    let is_scheme = matches!(url.host_str(), Some("http" | "https")) && url.port().is_none();
    if is_scheme && (!server.contains("://") || url.path().starts_with("//")) {
        return Err("it has to begin with http:// or https://".to_owned());
    }
    if url.path().contains('@') {
        return Err("user and password come right before the host".to_owned());
    }
    url.set_path(&format!("{}/", url.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Writes a URL without its password.
pub(crate) fn without_password(url: &Url) -> String {
    let mut shown = url.clone();
    // Fails only for URLs that can't have a password.
    let _ = shown.set_password(None);
    if is_key(url.username()) {
        let _ = shown.set_username("");
    }
    shown.as_str().trim_end_matches('/').to_owned()
}

/// Writes a URL without user name and password.
pub(crate) fn without_credentials(url: &Url) -> String {
    let mut bare = url.clone();
    // Fails only for URLs that can't have any.
    let _ = (bare.set_username(""), bare.set_password(None));
    bare.as_str().trim_end_matches('/').to_owned()
}

/// Whether a URL has a user name or a password.
pub(crate) fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether the user name or the password of a URL is an API key.
pub(crate) fn has_key(url: &Url) -> bool {
    is_key(url.username()) || url.password().is_some_and(is_key)
}

fn is_key(text: &str) -> bool {
    text.starts_with(ApiKey::PREFIX)
}
