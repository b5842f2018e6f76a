use pool::Access;

use crate::settings::Settings;

/// Reason why a server with these settings must not serve a ledger with these keys, with the remedy. Checked once the
/// ledger is loaded.
#[must_use]
pub fn access_refusal(access: &Access, settings: &Settings) -> Option<String> {
    if settings.loopback {
        return None;
    }
    if settings.trust_loopback {
        let refusal = "trust-loopback has no effect on a server that listens beyond loopback: leave it out, or \
                       listen on 127.0.0.1";
        return Some(refusal.to_owned());
    }
    if settings.anonymous.is_none() && access.is_empty() {
        let refusal = "this server would listen beyond loopback, but there is no API key: create one with \
                       `token-manager keys create`, set TOKEN_MANAGER_BOOTSTRAP_KEY, or let everyone allocate with \
                       `--anonymous use`";
        return Some(refusal.to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Anonymous;

    #[test]
    fn a_server_beyond_loopback_needs_a_key_or_a_decision() {
        let access = Access::default();
        let refused = |settings| access_refusal(&access, &settings);
        let beyond = || Settings { loopback: false, ..Settings::default() };
        assert_eq!(refused(Settings::default()), None);
        assert!(refused(beyond()).unwrap().contains("keys create"));
        for anonymous in [Anonymous::None, Anonymous::Read, Anonymous::Use] {
            assert_eq!(refused(Settings { anonymous: Some(anonymous), ..beyond() }), None);
        }
        let trusting =
            Settings { trust_loopback: true, anonymous: Some(Anonymous::None), ..beyond() };
        assert!(refused(trusting).unwrap().contains("trust-loopback"));
    }
}
