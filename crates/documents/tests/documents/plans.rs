use documents::{Options, apply_result, export, plan, summary};
use pool::{Change, Fence, Lease, LeaseId, Ledger, PoolId, Timestamp, TokenId, User};
use uuid::Uuid;
use wire::{ApplyResult, PoolsDocument};

use crate::toml;

const POOLS: &str = r#"
[pools.staging]
description = "Staging environments"
when_full = "wait"
lease = "30m"
[[pools.staging.tokens]]
name = "staging-1"
value = "https://staging-1.example.com"
labels = { region = "eu" }
[[pools.staging.tokens]]
name = "staging-2"
value = "https://staging-2.example.com"

[pools.seats]
tokens_generated = 2
"#;

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

/// A ledger to which documents are applied.
#[derive(Default)]
struct Applied {
    ledger: Ledger,
    ids: u128,
}

impl Applied {
    fn plan(&mut self, document: &PoolsDocument, options: Options) -> Result<Vec<Change>, String> {
        let (mut id, mut value) = (self.ids, 0);
        let plan = plan(
            document,
            options,
            || {
                id += 1;
                Uuid::from_u128(id)
            },
            || {
                value += 1;
                Uuid::from_u128(1 << 64 | value)
            },
        );
        self.ids = id;
        self.ledger.plan(&plan.unwrap(), NOW).map_err(|refused| refused.to_string())
    }

    fn apply(&mut self, text: &str, options: Options) -> ApplyResult {
        let document = toml(text).unwrap().document;
        let changes = self.plan(&document, options).unwrap();
        let result = apply_result(&self.ledger, &changes, NOW, false);
        for change in &changes {
            self.ledger.apply(change).unwrap();
        }
        assert_eq!(self.plan(&document, options), Ok(Vec::new()), "applied again");
        result
    }

    /// The lines of a document that is applied.
    fn lines(&mut self, text: &str, options: Options) -> Vec<String> {
        let result = self.apply(text, options);
        summary(&result, |time| time.to_string()[11..16].to_owned())
    }

    fn token(&self, pool: &str, name: &str) -> pool::Token {
        self.ledger.pool_named(pool).unwrap().token_named(name).unwrap().token.clone()
    }

    fn lease(&mut self, token: TokenId, pool: PoolId) {
        let fence = Fence::new(1);
        let until = Timestamp::from_micros(1_800_000_000);
        let user = User::new("ann").unwrap();
        let lease = Lease::granted(LeaseId(Uuid::from_u128(7)), token, user, fence, NOW, until);
        self.ledger.apply(&Change::LeaseStarted(Lease { pool, ..lease })).unwrap();
    }
}

const PRUNE: Options = Options { prune: true, end_leases: false };

#[test]
fn new_pools_and_tokens_are_listed() {
    let mut applied = Applied::default();
    let lines = applied.lines(POOLS, Options::default());
    assert_eq!(
        lines,
        [
            "+ pool seats (evict-oldest, 2m)",
            "+ token seats/1",
            "+ token seats/2",
            "+ pool staging (wait, 30m)",
            "+ token staging/staging-1",
            "+ token staging/staging-2",
        ]
    );
    let token = applied.token("staging", "staging-1");
    assert_eq!(token.value.as_str(), "https://staging-1.example.com");
    assert_eq!(token.labels.get("region"), Some("eu"));
    let values = ["1", "2"].map(|name| applied.token("seats", name).value);
    assert_ne!(values[0], values[1]);
    assert_ne!(values[0].as_str(), applied.token("seats", "1").id.0.to_string());
}

#[test]
fn changes_name_members_and_never_show_values() {
    let mut applied = Applied::default();
    applied.apply(POOLS, Options::default());
    let changed = "
        [pools.staging]
        lease = \"1h\"
        max_lease = \"8h\"
        description = \"\"
        [[pools.staging.tokens]]
        name = \"staging-1\"
        value = \"https://secret.example.com\"
        labels = {}
    ";
    let result = applied.apply(changed, Options::default());
    let json = serde_json::to_string(&result).unwrap();
    assert!(!json.contains("secret") && !json.contains("staging-1.example"), "{json}");
    let lines = summary(&result, |time| time.to_string());
    assert_eq!(
        lines,
        [
            "~ pool staging: description, lease 30m -> 1h, max_lease lease -> 8h",
            "~ token staging/staging-1: value, labels",
        ]
    );
    assert_eq!(
        applied.token("staging", "staging-2").value.as_str(),
        "https://staging-2.example.com"
    );
}

#[test]
fn pruned_tokens_leave_after_their_lease() {
    let mut applied = Applied::default();
    applied.apply(POOLS, Options::default());
    let token = applied.token("staging", "staging-1");
    applied.lease(token.id, token.pool);
    let others =
        "[pools.staging]\ntokens = [{ name = \"staging-3\" }]\n[pools.seats]\ntokens_generated = 1";
    let lines = applied.lines(others, PRUNE);
    assert_eq!(
        lines,
        [
            "- token seats/2",
            "- token staging/staging-1 (retiring until 00:30)",
            "- token staging/staging-2",
            "+ token staging/staging-3",
        ]
    );
}

#[test]
fn deleted_pools_end_leases_only_if_allowed() {
    let mut applied = Applied::default();
    applied.apply(POOLS, Options::default());
    let token = applied.token("staging", "staging-1");
    applied.lease(token.id, token.pool);
    let document = toml("[pools.staging]\ndelete = true").unwrap().document;
    let refused = applied.plan(&document, Options::default()).unwrap_err();
    assert!(refused.starts_with("pool staging: 1 of its leases run"), "{refused}");
    let end = Options { end_leases: true, ..Options::default() };
    let changes = applied.plan(&document, end).unwrap();
    let result = apply_result(&applied.ledger, &changes, NOW, true);
    assert!(result.dry_run);
    let lines = summary(&result, |time| time.to_string());
    assert_eq!(lines, ["- pool staging", "1 running lease ends"]);
}

#[test]
fn exports_make_the_same_pools() {
    let mut applied = Applied::default();
    applied.apply(POOLS, Options::default());
    let export = |applied: &Applied| {
        let pools = applied.ledger.pools();
        let pools = pools.map(|pool| (pool.name().clone().into(), export(pool, true))).collect();
        PoolsDocument { pools }
    };
    let exported = export(&applied);
    let text = documents::to_toml(&exported);
    assert_eq!(applied.lines(&text, PRUNE), Vec::<String>::new());
    let mut copy = Applied::default();
    copy.apply(&text, Options::default());
    assert_eq!(export(&copy), exported);
    let hidden = documents::export(applied.ledger.pool_named("staging").unwrap(), false);
    assert!(hidden.tokens.unwrap().iter().all(|token| token.value.is_none()));
}

#[test]
fn plans_refuse_what_requests_have_wrong() {
    let text = r#"{ "pools": { "a": { "lease": "soon", "tokens": [{ "name": "x" }, { "name": "x" }] }, "B": {} } }"#;
    let document: PoolsDocument = serde_json::from_str(text).unwrap();
    let refused =
        plan(&document, Options::default(), Uuid::nil, Uuid::nil).unwrap_err().to_string();
    let lines: Vec<&str> = refused.lines().collect();
    assert_eq!(lines.len(), 3, "{refused}");
    assert!(lines[0].starts_with("pool B: the name must be of lower-case"), "{refused}");
    assert_eq!(
        lines[1],
        "pool a, lease: can't be \"soon\": a duration looks like 90s, 10m, 8h or 1h30m"
    );
    assert_eq!(lines[2], "pool a, token x, name: token number 1 has this name, too: rename one");
}
