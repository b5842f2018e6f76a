use tempfile::TempDir;

use crate::Cluster;

/// An empty database of a test's own; an SQLite file is removed when this is dropped.
#[derive(Debug)]
pub struct TestDb {
    url: String,
    folder: Option<TempDir>,
}

impl TestDb {
    /// An SQLite file, not created yet, in a temporary folder.
    ///
    /// # Panics
    ///
    /// If the folder can't be created.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let url = format!("sqlite:{}", folder.path().join("pool.db").display());
        TestDb { url, folder: Some(folder) }
    }

    /// A database of the cluster that all tests of this process share.
    ///
    /// # Panics
    ///
    /// If the database can't be created.
    pub async fn postgres() -> Self {
        TestDb::at(Cluster::shared().database().await.expect("PostgreSQL creates a database"))
    }

    /// The database at a URL, whose removal is the caller's.
    #[must_use]
    pub fn at(url: String) -> Self {
        TestDb { url, folder: None }
    }

    /// URL of the database, as in the setting `database`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Folder of the SQLite file, which has nothing else in it.
    ///
    /// # Panics
    ///
    /// If the database is on PostgreSQL.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().expect("the database is an SQLite file").path()
    }
}
