use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Who runs PostgreSQL, which refuses to be run by root.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The user and group to become; `None` stays who we are.
    become_: Option<(u32, u32)>,
}

impl Account {
    /// Ourselves or, for root, `postgres` or `nobody`.
    pub fn for_postgres() -> Result<Self> {
        if fs::metadata("/proc/self").context("reading /proc/self")?.uid() != 0 {
            return Ok(Account { become_: None });
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let found = ["postgres", "nobody"].iter().find_map(|name| ids(&users, name));
        let ids = found.context("PostgreSQL does not run as root, and there is no user nobody")?;
        Ok(Account { become_: Some(ids) })
    }

    /// Makes the account the owner of a file or folder.
    pub fn give(&self, path: &Path) -> Result<()> {
        if let Some((user, group)) = self.become_ {
            chown(path, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// Writes a file that only the account may read.
    pub fn write(&self, path: &Path, content: &str) -> Result<()> {
        fs::write(path, content).with_context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        self.give(path)
    }

    /// Lets the account run the command.
    pub fn run_as<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        match self.become_ {
            Some((user, group)) => command.uid(user).gid(group),
            None => command,
        }
    }
}

/// The user's and the group's number in a file like `/etc/passwd`.
fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
