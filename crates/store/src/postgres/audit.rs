use super::session::Access;
use crate::Error;

pub(super) async fn audit(_access: &Access) -> Result<Vec<String>, Error> {
    Ok(Vec::new())
}

pub(super) async fn describe(_access: &Access) -> Result<Vec<(String, String)>, Error> {
    Ok(Vec::new())
}
