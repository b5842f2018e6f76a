//! `token-manager run` in a terminal. `run_terminal.py` types the keys.

use std::path::Path;

use crate::harness::{run, unprotected};
use crate::run_fixture::Pool;

/// Runs a scenario and returns the end reason of its lease.
async fn perform(scenario: &str) -> String {
    let pool = Pool::start(&["--lease", "2m", "--max-lease", "1h"]);
    let keyboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/run_terminal.py");
    let program = env!("CARGO_BIN_EXE_token-manager");
    let mut python = unprotected("python3");
    python.arg(keyboard).args([scenario, program, &pool.server.url()]);
    let ended = run(python.current_dir(pool.folder.path()));
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    pool.reason().await
}

macro_rules! scenarios {
    ($($name:ident: $reason:literal,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                assert_eq!(perform(stringify!($name)).await, $reason);
            }
        )*
    };
}

scenarios! {
    ctrl_c: "released",
    ctrl_c_for_a_reader: "released",
    ctrl_c_in_a_loop: "released",
    in_the_foreground: "released",
    beside_others_in_the_foreground: "released",
    reading: "released",
    a_shell: "released",
    a_shell_without_a_lease: "cleared",
    ctrl_z: "released",
    ctrl_z_ignored: "released",
    lost_while_stopped: "cleared",
    ctrl_z_for_a_reader: "released",
    ctrl_z_in_a_script: "released",
    ctrl_z_without_a_shell: "released",
    in_the_background: "released",
    in_an_orphaned_background: "released",
    in_a_pipeline: "released",
    time_up_while_stopped: "expired",
    modes: "cleared",
    hang_up: "released",
    hang_up_a_shell: "released",
    hang_up_ignored: "released",
    hang_up_with_nohup: "released",
}
