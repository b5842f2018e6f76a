//! Masks passwords in database URLs, well-formed or not.

/// Replaces a secret.
pub const MASK: &str = "***";

/// Begins every API key.
const KEY: &str = pool::PlainKey::PREFIX;

/// `url` without its password. Parts that may belong to a password are masked as well.
pub fn url(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.to_owned();
    }
    // Without a scheme, the place of a password is unknown.
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.contains(['@', '=', ':']) { MASK.to_owned() } else { url.to_owned() };
    };
    // A password may contain `@`, `/` and `?` that should have been escaped.
    if let Some((userinfo, place)) = rest.rsplit_once('@') {
        let user = userinfo.split(':').next().filter(|user| !user.starts_with(KEY));
        let user = user.unwrap_or(MASK);
        let mask = if userinfo.contains(':') { format!(":{MASK}") } else { String::new() };
        return format!("{scheme}://{user}{mask}@{}", query(place));
    }
    let hosts = rest.split(['/', '?']).next().unwrap_or_default();
    let is_host = |host: &str| {
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        host.ends_with(']') || port.chars().all(|c| c.is_ascii_digit())
    };
    if hosts.split(',').all(is_host) {
        return format!("{scheme}://{}", query(rest));
    }
    // `postgres://user:secret`, cut off before the host.
    format!("{scheme}://{MASK}")
}

/// Masks every `password=..` parameter, with any prefix (`sslpassword`) and in any case.
fn query(place: &str) -> String {
    let Some((path, parameters)) = place.split_once('?') else {
        return place.to_owned();
    };
    let mask = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if name.to_lowercase().ends_with("password") => format!("{name}={MASK}"),
        _ => parameter.to_owned(),
    };
    let parameters: Vec<_> = parameters.split('&').map(mask).collect();
    format!("{path}?{}", parameters.join("&"))
}

/// `text`, which quotes a command line, with the arguments masked that may contain a password.
pub fn quoted(mut text: String, arguments: impl Iterator<Item = String>) -> String {
    for argument in arguments {
        let value = argument.split_once('=').map_or(argument.as_str(), |(flag, value)| {
            if flag.starts_with('-') { value } else { &argument }
        });
        let lower = value.to_lowercase();
        if value.starts_with(KEY) {
            text = text.replace(value, &format!("{KEY}{MASK}"));
        } else if ["://", "@", "password"].iter().any(|sign| lower.contains(sign)) {
            text = text.replace(value, &url(value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn passwords_never_show() {
        for (given, shown) in [
            ("sqlite:pool.db", "sqlite:pool.db"),
            ("postgres://u:secret@h:5432/n", "postgres://u:***@h:5432/n"),
            ("postgres://u:sec@re/t?@h/n", "postgres://u:***@h/n"),
            ("postgres://u@h/n?sslmode=require", "postgres://u@h/n?sslmode=require"),
            ("postgres://h/n?user=u&password=secret", "postgres://h/n?user=u&password=***"),
            ("postgres://h:1,[::1]:2,[::1]/n", "postgres://h:1,[::1]:2,[::1]/n"),
            ("postgres:///n?host=/tmp", "postgres:///n?host=/tmp"),
            ("postgres://u:secret", "postgres://***"),
            ("https://tm_id_secret@h", "https://***@h"),
            ("mysql://u:secret@h", "mysql://u:***@h"),
            ("u:secret@h", "***"),
            ("host=h password=secret", "***"),
            ("pool.db", "pool.db"),
        ] {
            assert_eq!(url(given), shown);
        }
    }

    #[test]
    fn a_quoted_command_line_is_masked() {
        let arguments = ["--databse=postgres://u:secret@h", "postgres://u:secret@x"];
        let message = super::quoted(arguments.join(" "), arguments.iter().map(ToString::to_string));
        assert_eq!(message, "--databse=postgres://u:***@h postgres://u:***@x");
        let arguments = ["--kye=tm_id_secret", "tm_id_other"];
        let message = super::quoted(arguments.join(" "), arguments.iter().map(ToString::to_string));
        assert_eq!(message, "--kye=tm_*** tm_***");
    }
}
