//! `token-manager doctor`
use std::process::ExitCode;

use crate::settings::Settings;
pub async fn examine(_settings: &Settings) -> ExitCode {
    ExitCode::SUCCESS
}
