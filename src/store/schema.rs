//! The steps of a schema, and what its version must be.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::open::OpenError;

/// The steps of a schema, each with its name, in order.
pub(super) type Steps = &'static [(&'static str, &'static str)];

/// Reads the version of a schema that is there.
pub(super) const VERSION: &str = "select max(version) from _sqlx_migrations";

/// The first so many steps, to be run in a transaction of whoever runs them, which locks what must be locked.
pub(super) fn steps(all: Steps, number: usize) -> Migrator {
    let step = |(version, (name, sql)): (i64, &(&'static str, &'static str))| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations((1..).zip(all).take(number).map(step).collect());
    migrator.set_locking(false);
    migrator
}

/// The version, unless it is newer than this build knows.
pub(super) fn not_newer(found: i64, all: Steps, what: impl FnOnce() -> String) -> Result<i64, OpenError> {
    let known = all.len() as i64;
    if found > known { Err(OpenError::Newer { what: what(), found, known }) } else { Ok(found) }
}

/// What each step of a schema is, to see that none is edited.
#[cfg(test)]
pub(super) fn marks(all: Steps) -> Vec<String> {
    use sha2::{Digest, Sha256};
    let mark = |(_, sql): &(&str, &str)| Sha256::digest(sql).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    all.iter().map(mark).collect()
}
