//! Attribute `on_both`, which `testbed` exports.

use proc_macro::{TokenStream, TokenTree};

/// Runs a test on SQLite and on PostgreSQL, as two tests `NAME::sqlite` and `NAME::postgres`.
///
/// The function takes the empty database: a `testbed::TestDb`, or any type that is
/// `From<testbed::TestDb>`. One that is not async takes a reference to it. A function without the
/// attribute is dead code, which is a warning.
///
/// ```ignore
/// #[on_both]
/// async fn a_lease_ends_at_its_deadline(db: TestDb) {
///     ...
/// }
/// ```
///
/// To run one of them: `cargo test a_lease_ends_at_its_deadline::postgres`; all on one database:
/// `cargo test ::sqlite`.
#[proc_macro_attribute]
pub fn on_both(_: TokenStream, mut function: TokenStream) -> TokenStream {
    let mut tokens = function.clone().into_iter().peekable();
    let mut is_async = false;
    while let Some(token) = tokens.next_if(|token| token.to_string() != "fn") {
        is_async |= token.to_string() == "async";
    }
    let Some(TokenTree::Ident(name)) = tokens.nth(1) else {
        return tests("compile_error!(\"on_both belongs to a function\");");
    };
    let (by, done) = if is_async { ("", ".await") } else { ("&", "") };
    let test = |database: &str, wait: &str| {
        format!(
            "#[::tokio::test(flavor = \"multi_thread\")]
             async fn {database}() {{
                 super::{name}({by}::testbed::TestDb::{database}(){wait}.into()){done};
             }}"
        )
    };
    let both = test("sqlite", "") + &test("postgres", ".await");
    function.extend(tests(&format!("mod {name} {{ {both} }}")));
    function
}

fn tests(code: &str) -> TokenStream {
    code.parse().expect("the code is a module or a macro call")
}
