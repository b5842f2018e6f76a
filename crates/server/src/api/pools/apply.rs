//! Documents and other plans: from a request to a list of changes.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use documents::{Finding, Format, Invalid, Options, Parsed, Source};
use engine::{Scope, View};
use pool::{Before, Change, Expected, Plan, PlanRule, Policy, PoolRecord};
use wire::{PlanFinding, PlanRefused, PoolFixed, PoolInUse};

use crate::http::access::Acting;
use crate::http::etag;
use crate::http::json_body;
use crate::http::query::{Parameters, Values, invalid};
use crate::http::respond::{uncached, unknown_pool, unknown_token_name};
use crate::json::count;
use crate::problem::{Code, Problem};

/// Size above which a document is read on a thread of its own, in bytes.
const LARGE: usize = 64 * 1024;

/// Approximate size of a change in JSON.
const BYTES_PER_CHANGE: usize = 128;

const POOLS: &str = "{\"pools\": {\"staging\": {\"tokens\": [{\"name\": \"staging-1\"}]}}}";
const POOL: &str = "{\"tokens\": [{\"name\": \"staging-1\"}]}";
const TOKEN: &str = "{\"name\": \"staging-1\"}";

/// Documents in requests can't name files.
const SOURCE: Source<'static> = Source { name: "body", folder: None };

/// Parameters of a document.
pub(crate) struct ApplyQuery {
    pub(crate) dry_run: bool,
    prune: bool,
    end_leases: bool,
}

impl ApplyQuery {
    pub(crate) fn options(&self) -> Options {
        Options { prune: self.prune, end_leases: self.end_leases }
    }
}

impl Parameters for ApplyQuery {
    const NAMES: &'static [&'static str] = &["dry_run", "prune", "end_leases"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let [dry_run, prune, end_leases] =
            [values.flag("dry_run")?, values.flag("prune")?, values.flag("end_leases")?];
        Ok(ApplyQuery { dry_run, prune, end_leases })
    }
}

/// Parameters of the deletion of a pool.
pub(crate) struct DeleteQuery {
    pub(crate) dry_run: bool,
    pub(crate) end_leases: bool,
}

impl Parameters for DeleteQuery {
    const NAMES: &'static [&'static str] = &["dry_run", "end_leases"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let (dry_run, end_leases) = (values.flag("dry_run")?, values.flag("end_leases")?);
        Ok(DeleteQuery { dry_run, end_leases })
    }
}

/// Parameters of the deletion of a token.
pub(crate) struct DryRun(pub(crate) bool);

impl Parameters for DryRun {
    const NAMES: &'static [&'static str] = &["dry_run"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        values.flag("dry_run").map(DryRun)
    }
}

/// The plan of a document of pools.
pub(crate) async fn plan_of_pools(body: Bytes, options: Options) -> Result<Plan, Problem> {
    let parse = |body: &[u8]| {
        let text = json_body::text(body, POOLS)?;
        parsed(documents::parse(text.as_bytes(), Format::Json, &SOURCE))
    };
    plan(body, options, parse).await
}

/// The plan of the document of one pool.
pub(crate) async fn plan_of_pool(
    body: Bytes,
    pool: String,
    options: Options,
) -> Result<Plan, Problem> {
    let parse = move |body: &[u8]| {
        let text = json_body::text(body, POOL)?;
        parsed(documents::parse_pool(text.as_bytes(), &pool, &SOURCE))
    };
    plan(body, options, parse).await
}

/// The plan of a document that has only tokens of a pool.
pub(crate) async fn plan_of_tokens(
    body: Bytes,
    pool: String,
    options: Options,
) -> Result<Plan, Problem> {
    let parse = move |body: &[u8]| {
        let text = json_body::text(body, POOL)?;
        let parsed = parsed(documents::parse_pool(text.as_bytes(), &pool, &SOURCE))?;
        let only_tokens = parsed.document.pools.values().all(|pool| {
            let others = pool.description.is_some() || pool.keep_other_tokens || pool.delete;
            pool.tokens.is_some() && !others && pool.policy().next().is_none()
        });
        if only_tokens {
            Ok(parsed)
        } else {
            Err(invalid(format!("The body must have the member tokens and no others: {POOL}.")))
        }
    };
    plan(body, options, parse).await
}

/// The plan of the document of one token.
pub(crate) async fn plan_of_token(body: Bytes, pool: String) -> Result<Plan, Problem> {
    let parse = move |body: &[u8]| {
        // The text is one JSON value, so it becomes one entry.
        let document = format!("{{\"tokens\":[{}]}}", json_body::text(body, TOKEN)?);
        parsed(documents::parse_pool(document.as_bytes(), &pool, &SOURCE))
    };
    plan(body, Options::default(), parse).await
}

async fn plan(
    body: Bytes,
    options: Options,
    parse: impl FnOnce(&[u8]) -> Result<Parsed, Problem> + Send + 'static,
) -> Result<Plan, Problem> {
    let large = body.len() > LARGE;
    let work = move || {
        let document = parse(&body)?.document;
        let plan = documents::plan(&document, options, engine::token_id, engine::token_value);
        plan.map_err(|mistakes| mistaken(&mistakes))
    };
    if !large {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

fn parsed(read: Result<Parsed, Invalid>) -> Result<Parsed, Problem> {
    read.map_err(|mistakes| mistaken(&mistakes))
}

fn mistaken(Invalid(mistakes): &Invalid) -> Problem {
    let findings: Vec<PlanFinding> = mistakes.iter().map(finding).collect();
    let mut first = mistakes.first().cloned().unwrap_or_default();
    let line = first.line.map_or(String::new(), |line| format!("Line {line}: "));
    (first.file, first.line) = (None, None);
    let more = match findings.len() {
        0 | 1 => String::new(),
        number => format!(" There are {} more mistakes.", number - 1),
    };
    let detail = format!("{line}{first}. Nothing was changed.{more}");
    let (pool, token, field) = (first.pool, first.token, first.field);
    Problem::with(detail, &PlanRefused { pool, token, field, findings })
}

fn finding(finding: &Finding) -> PlanFinding {
    let Finding { line, pool, token, field, rule, .. } = finding.clone();
    PlanFinding { line: line.map(count), pool, token, field, rule }
}

/// Carries out a plan, or tells what it would change.
pub(crate) async fn run(acting: &Acting, plan: Plan, dry_run: bool) -> Result<Response, Problem> {
    let (changes, before) =
        if dry_run { preview(acting, &plan).await? } else { change(acting, plan).await? };
    let result = documents::applied_result(&before, &changes, dry_run);
    Ok(uncached(&result, 128 + result.changes.len() * BYTES_PER_CHANGE))
}

async fn preview(acting: &Acting, plan: &Plan) -> Result<(Vec<Change>, Box<Before>), Problem> {
    acting.permit_plan(plan)?;
    let look = |view: View<'_>| {
        let changes = view.ledger.plan(plan, view.now)?;
        let before = Box::new(view.ledger.before(&changes, view.now));
        Ok((changes, before))
    };
    acting.engine.read(look).await?.map_err(|refused| self::refused(&refused))
}

/// Carries out a plan.
pub(crate) async fn change(
    acting: &Acting,
    plan: Plan,
) -> Result<(Vec<Change>, Box<Before>), Problem> {
    acting.permit_plan(&plan)?;
    match acting.engine.change(plan).await {
        Ok(decided) => decided.map_err(|refused| self::refused(&refused)),
        Err(engine::Error::Refused) => {
            let mut finding = Finding::default();
            "the database can't store a text of this request".clone_into(&mut finding.rule);
            Err(mistaken(&Invalid(vec![finding])))
        }
        Err(error) => Err(error.into()),
    }
}

fn refused(refused: &pool::PlanRefused) -> Problem {
    let pool::PlanRefused { pool, token, field, rule } = refused;
    let (name, token) = (pool.to_string(), token.clone());
    match rule {
        PlanRule::Unexpected => unexpected(pool),
        PlanRule::UnknownPool => unknown_pool(),
        PlanRule::UnknownToken => unknown_token_name(),
        PlanRule::Fixed => {
            let detail = format!(
                "The tokens of the pool {name} are fixed (policy membership). Nothing was changed: set \
                 membership to open first."
            );
            Problem::with(detail, &PoolFixed { pool: name, token })
        }
        PlanRule::InUse { running } => {
            let detail = format!(
                "The pool {name} has running leases: {running}. Nothing was changed: release them \
                 first, or send end_leases=true."
            );
            Problem::with(detail, &PoolInUse { pool: name, leases: count(*running) })
        }
        PlanRule::NameTaken => {
            let token = token.unwrap_or_default();
            let detail = format!(
                "Another token of the pool {name} has the name {token}. Nothing was changed."
            );
            Problem::new(Code::NameTaken, detail)
        }
        rule => {
            let field = field.map(str::to_owned);
            let (pool, rule) = (Some(name), rule.to_string());
            let detail = format!("{refused}. Nothing was changed.");
            let finding = PlanFinding {
                line: None,
                pool: pool.clone(),
                token: token.clone(),
                field: field.clone(),
                rule,
            };
            Problem::with(detail, &PlanRefused { pool, token, field, findings: vec![finding] })
        }
    }
}

fn unexpected(pool: &str) -> Problem {
    let detail = format!(
        "The pool {pool} is not as If-Match or If-None-Match says: it was changed, created or \
         deleted. Nothing was changed. Get it again."
    );
    Problem::new(Code::PreconditionFailed, detail)
}

/// The `ETag` of a pool's description and policy.
pub(crate) fn etag(record: &PoolRecord) -> HeaderValue {
    let mut text = format!("{}\n{}", record.id.0, record.description.as_str());
    for field in Policy::FIELDS {
        text.push('\n');
        text.push_str(&field.show(&record.policy));
    }
    // FNV-1a, which does not depend on the version of the program.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    HeaderValue::try_from(format!("\"{hash:016x}\"")).expect("digits are valid in headers")
}

/// Whether the request has a condition.
pub(crate) fn has_condition(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH)
}

/// The condition of a request on the pool with this name. It is checked here, and again when the plan is
/// decided.
pub(crate) async fn expected(
    acting: &Acting,
    headers: &HeaderMap,
    name: &str,
) -> Result<Expected, Problem> {
    if !acting.caller.has_pool(name) {
        return Err(unknown_pool());
    }
    if headers.contains_key(IF_NONE_MATCH) {
        return if etag::is_any(headers, IF_NONE_MATCH) && !headers.contains_key(IF_MATCH) {
            Ok(Expected::Absent)
        } else {
            Err(invalid("If-None-Match must be *, without If-Match: only a new pool is created."))
        };
    }
    if !headers.contains_key(IF_MATCH) {
        return Ok(Expected::Any);
    }
    if etag::is_any(headers, IF_MATCH) {
        return Ok(Expected::Present);
    }
    let look = |view: View<'_>| acting.find(view, name).map(|pool| pool.record().clone());
    let record = acting.engine.read_of(Scope::Timeless, look).await?;
    let same = record.filter(|record| etag::is_named(headers, IF_MATCH, &etag(record)));
    same.map(|record| Expected::Same(Box::new(record))).ok_or_else(|| unexpected(name))
}

/// The plan with a condition on its pools.
pub(crate) fn expecting(mut plan: Plan, expected: &Expected) -> Plan {
    for pool in &mut plan.pools {
        pool.expected = expected.clone();
    }
    plan
}
