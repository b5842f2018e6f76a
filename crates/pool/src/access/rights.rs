use crate::words::words;

words! {
    /// Rights of an API key. Each includes those before it.
    pub enum Rights {
        Read = "read", "Read pools, tokens, leases, the queue and events, without values of tokens.";
        Use = "use", "Allocate for the key's users; renew and release their leases, and give up their tickets.";
        Operate = "operate", "Act on leases and tickets of all users; set and remove taints; end all leases of a pool.";
        Admin = "admin", "Change pools, tokens and API keys; read values and the audit log.";
    }
}

impl Rights {
    /// Whether these rights include `needed`.
    #[must_use]
    pub const fn include(self, needed: Rights) -> bool {
        self as u8 >= needed as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_includes_those_before_it() {
        for (place, right) in Rights::ALL.into_iter().enumerate() {
            for (other_place, other) in Rights::ALL.into_iter().enumerate() {
                assert_eq!(right.include(other), other_place <= place, "{right:?} {other:?}");
            }
        }
    }
}
