//! Opening the state file: what may be opened, what is refused and why.
//!
//! A state file that is wrong costs access, so everything is looked at before the first byte is written: whose file it is
//! (from its header, without SQLite touching it), whether it is whole, and which schema it has. The first commit carries
//! schema and mark together, in the file itself and not in a log beside it; so a file is either empty or ours.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::MigrateError;
#[cfg(test)]
use sqlx::sqlite::SqliteConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};

use super::chain;
use super::failure::{cause, is_busy, is_damage};
use super::schema::{self, Steps};
use super::seats::Seats;
use super::sql::{Connection, query, query_scalar};

/// "ROST": the mark by which our file is told from any other SQLite file.
const MARK: u32 = 0x524F_5354;
/// The same as a statement.
const SET_MARK: &str = "pragma application_id = 1380930388";
/// The newest schema that this build knows.
pub const SCHEMA: i64 = STEPS.len() as i64;
/// The steps of the schema, in order. One that has been released is never edited.
const STEPS: Steps = &[
    ("journal", include_str!("migrations/0001_journal.sql")),
    ("decisions", include_str!("migrations/0002_decisions.sql")),
    ("outbox", include_str!("migrations/0003_outbox.sql")),
    ("standing", include_str!("migrations/0004_standing.sql")),
    ("chain", include_str!("migrations/0005_chain.sql")),
    ("expiring", include_str!("migrations/0006_expiring.sql")),
    ("new_users", include_str!("migrations/0007_new_users.sql")),
    ("waits", include_str!("migrations/0008_waits.sql")),
    ("releases", include_str!("migrations/0009_releases.sql")),
    ("moved", include_str!("migrations/0010_moved.sql")),
];
/// Readers beside the writer.
const READERS: usize = 2;
/// How long a statement waits for another process's lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a state file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Create the file if it is missing. Its folder is never created: a missing one is more likely a volume that was not
    /// mounted, and a fresh state there would have forgotten everything.
    pub create: bool,
    /// Read only: the file stays as it is to the byte, and a missing one reads as an empty journal.
    pub read_only: bool,
}

/// Why a state store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An address that this build cannot serve.
    #[error("there is no state store of the kind \"{scheme}:…\"")]
    Unsupported {
        /// The address up to its colon.
        scheme: String,
    },
    /// `sqlite:` and nothing after it.
    #[error("the state store \"sqlite:\" names no file")]
    NoPath,
    /// Parameters after the path.
    #[error("the path of the state file holds a \"?\": parameters are not understood")]
    Parameters,
    /// The folder is missing.
    #[error("the folder {} of the state file does not exist", .0.display())]
    NoFolder(PathBuf),
    /// The file is missing and was not to be created.
    #[error("the state file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// Not a file of ours.
    #[error("{} is not a state file of rosterd: {why}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        why: &'static str,
    },
    /// The file is damaged.
    #[error("the state file {} is damaged: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite found.
        why: String,
    },
    /// A newer rosterd wrote the store.
    #[error("{what} has schema version {found}, this rosterd knows versions up to {known}")]
    Newer {
        /// Which store.
        what: String,
        /// The store's version.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// An older rosterd wrote the store, and it may not be written now.
    #[error("{what} has schema version {found}, reading it needs version {known}")]
    Older {
        /// Which store.
        what: String,
        /// The store's version.
        found: i64,
        /// The version needed.
        known: i64,
    },
    /// A step of its schema was another one.
    #[error("the state file {} was made by a rosterd between two releases: step {step} of its schema is not the one of this version", path.display())]
    Between {
        /// Which file.
        path: PathBuf,
        /// Which step.
        step: i64,
    },
    /// Everything in it was copied elsewhere, and it is to be written.
    #[error("{store} was copied to {to}, which is in use since")]
    Moved {
        /// Which store.
        store: String,
        /// Where to.
        to: String,
    },
    /// Nobody can say whether it was.
    #[error("whether {store} was copied elsewhere cannot be read: {why}")]
    Unsaid {
        /// Which store.
        store: String,
        /// The cause.
        why: String,
        /// Whether it may be in a moment.
        passing: bool,
    },
    /// Another process kept it locked for longer than a statement waits.
    #[error("the state file {} is in use: another process kept it locked for longer than 5 seconds", .0.display())]
    Busy(PathBuf),
    /// An address of a server that cannot be used.
    #[error("the address of the state store cannot be used: {why}")]
    Address {
        /// Why not. Never tells a password.
        why: String,
    },
    /// A server that does not serve.
    #[error("the database {name} could not be opened: {why}")]
    Server {
        /// Which database, and where.
        name: String,
        /// The cause.
        why: String,
        /// Whether it may do in a moment.
        passing: bool,
    },
    /// Anything else: rights, the disk.
    #[error("the state file {} could not be opened: {why}", path.display())]
    Failed {
        /// Which file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
}

impl OpenError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            OpenError::Unsupported { .. } | OpenError::NoPath | OpenError::Parameters => {
                Some("write sqlite:/var/lib/rosterd/state.db or postgres://user@host/database")
            }
            OpenError::Address { .. } => Some(
                "write postgres://user@host/database?sslrootcert=/path, and the password as \
                 daemon.state_password",
            ),
            OpenError::Server { passing: true, .. } => {
                Some("see that the database runs and can be reached; it was tried for some seconds")
            }
            OpenError::Server { passing: false, .. } | OpenError::Unsaid { .. } => None,
            OpenError::Moved { .. } => Some(
                "name the other as daemon.state; where that one is given up, `rosterd state reopen` takes this one into use again",
            ),
            OpenError::NoFolder(_) => Some(
                "check that the volume is mounted; on a new machine start the systemd unit, which makes its own folder, or create it, \
                 owned by the user rosterd runs as, or name another place as daemon.state",
            ),
            OpenError::Missing(_) => Some("the first run creates it"),
            OpenError::Foreign { .. } => Some("point daemon.state at another path; this file was not touched"),
            OpenError::Damaged { .. } => Some(
                "restore it from a backup, or move it and its -wal and -shm companions away: links are found again by \
                 correlation, and until then nothing is removed",
            ),
            OpenError::Newer { .. } => Some("run the newer rosterd again, or restore the state from before the upgrade"),
            OpenError::Older { .. } => Some("start the daemon or run sync once: that brings it up to date"),
            OpenError::Between { .. } => Some(
                "go on with the build that made it, or move it away: links are found again by correlation, and until then nothing is removed",
            ),
            OpenError::Busy(_) => Some("try again in a moment"),
            OpenError::Failed { .. } => None,
        }
    }

    /// Whether the same may do in a moment.
    pub fn is_passing(&self) -> bool {
        matches!(self, OpenError::Busy(_) | OpenError::Server { passing: true, .. } | OpenError::Unsaid { passing: true, .. })
    }

    fn of(path: &Path, error: &sqlx::Error) -> Self {
        if is_damage(error) {
            return OpenError::Damaged { path: path.to_owned(), why: error.to_string() };
        }
        if is_busy(error) {
            return OpenError::Busy(path.to_owned());
        }
        OpenError::Failed { path: path.to_owned(), why: cause(error) }
    }

    fn io(path: &Path, error: &std::io::Error) -> Self {
        OpenError::Failed { path: path.to_owned(), why: error.to_string() }
    }
}

/// Opens a file, or an empty journal in memory where a missing file is only to be read.
pub(super) async fn file(path: &Path, options: OpenOptions) -> Result<Seats, OpenError> {
    let path = settled(path)?;
    let length = header(&path)?;
    if options.read_only {
        return match length {
            None | Some(0) => memory(true).await,
            Some(_) => reading(&path).await,
        };
    }
    if length.is_none() {
        if !options.create {
            return Err(OpenError::Missing(path));
        }
        touch(&path)?;
    }
    writing(&path).await
}

/// Opens an empty journal that lives as long as the value and that nobody else sees.
pub(super) async fn memory(read_only: bool) -> Result<Seats, OpenError> {
    let path = Path::new(":memory:");
    let failed = |e: sqlx::Error| OpenError::of(path, &e);
    let mut connection = quiet(SqliteConnectOptions::new()).connect().await.map_err(failed)?.into();
    migrate(path, &mut connection).await?;
    if read_only {
        return Ok(Seats::read_only(connection));
    }
    Ok(Seats::new(connection, Vec::new()))
}

async fn writing(path: &Path) -> Result<Seats, OpenError> {
    let failed = |e: sqlx::Error| OpenError::of(path, &e);
    let base = quiet(SqliteConnectOptions::new()).filename(path);
    let write = base
        .clone()
        .synchronous(SqliteSynchronous::Full)
        // What is pruned shall not be found in the file's free pages: attributes kept for undo may be personal.
        .pragma("secure_delete", "on")
        // A large transaction swells the log; the next checkpoint cuts it back to this many bytes.
        .pragma("journal_size_limit", "16777216");
    let mut writer = write.connect().await.map_err(failed)?.into();
    whole(path, &mut writer).await?;
    if version(path, &mut writer).await? < SCHEMA {
        migrate(path, &mut writer).await?;
    }
    log_ahead(path, &mut writer).await?;
    let mut readers = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        readers.push(base.clone().pragma("query_only", "on").connect().await.map_err(failed)?.into());
    }
    Ok(Seats::new(writer, readers))
}

/// With its log beside it the file is open elsewhere, or was when a process died: read together with the log. Without, the
/// file is all there is, and can be read without a lock, a log or any other trace.
async fn reading(path: &Path) -> Result<Seats, OpenError> {
    let failed = |e: sqlx::Error| OpenError::of(path, &e);
    let signs: Vec<PathBuf> = ["-wal", "-journal"].iter().map(|suffix| beside(path, suffix)).collect();
    let join = quiet(SqliteConnectOptions::new()).filename(path).read_only(true);
    let shared = signs.iter().any(|sign| sign.exists());
    let mut reader = join.clone().immutable(!shared).connect().await.map_err(failed)?.into();
    whole(path, &mut reader).await?;
    let found = version(path, &mut reader).await?;
    if found < SCHEMA {
        return Err(OpenError::Older { what: what(path), found, known: SCHEMA });
    }
    Ok(if shared { Seats::read_only(reader) } else { Seats::frozen(reader, signs, join) })
}

/// The path with its folder made absolute, so that a later change of the working directory changes nothing.
fn settled(path: &Path) -> Result<PathBuf, OpenError> {
    let Some(name) = path.file_name() else {
        return Err(OpenError::Foreign { path: path.to_owned(), why: "it is a folder" });
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    match folder.canonicalize() {
        Ok(absolute) => Ok(absolute.join(name)),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(OpenError::NoFolder(folder.to_owned())),
        Err(e) => Err(OpenError::io(path, &e)),
    }
}

/// Looks at the header without SQLite, which would write to a foreign file while it opens it. Returns the file's length;
/// `None` if there is no file. The layout: <https://www.sqlite.org/fileformat.html#the_database_header>.
fn header(path: &Path) -> Result<Option<u64>, OpenError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(OpenError::io(path, &e)),
    };
    let about = file.metadata().map_err(|e| OpenError::io(path, &e))?;
    let foreign = |why| Err(OpenError::Foreign { path: path.to_owned(), why });
    if !about.is_file() {
        return foreign("it is not a file");
    }
    if about.len() == 0 {
        return Ok(Some(0));
    }
    let mut head = [0; 100];
    if file.read_exact(&mut head).is_err() || &head[..16] != b"SQLite format 3\0" {
        return foreign("it is not an SQLite file, or its beginning is destroyed");
    }
    if head[68..72] != MARK.to_be_bytes() {
        return foreign("it is an SQLite file of another program");
    }
    Ok(Some(about.len()))
}

/// Gives a new file to whoever its folder belongs to. Only root can; for anybody else it stays as it is.
#[cfg(unix)]
fn give(file: &File, path: &Path) {
    use std::os::unix::fs::{MetadataExt, fchown};
    if let Some(Ok(folder)) = path.parent().map(std::fs::metadata) {
        let _ = fchown(file, Some(folder.uid()), Some(folder.gid()));
    }
}

/// Creates the empty file, readable by its owner alone: whoever the folder belongs to, so that a command by root does not lock
/// the daemon out of its own state. SQLite gives the log the same owner and rights.
fn touch(path: &Path) -> Result<(), OpenError> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => {
            #[cfg(unix)]
            give(&file, path);
            Ok(())
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(OpenError::io(path, &e)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Statements are not logged: the journal is the record, the log is for people.
fn quiet(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .busy_timeout(PATIENCE)
        .foreign_keys(true)
        .row_buffer_size(1000)
        .thread_name(|n| format!("state-{n}"))
        .disable_statement_logging()
}

/// Refuses a file whose pages do not hold together. The quick check reads every page and leaves out only the comparison
/// of indexes with their tables.
async fn whole(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let verdict: String =
        query_scalar("pragma quick_check(1)").fetch_one(connection).await.map_err(|e| OpenError::of(path, &e))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenError::Damaged { path: path.to_owned(), why: verdict.replace('\n', " ") }),
    }
}

/// The file's schema version; 0 for an empty file.
async fn version(path: &Path, connection: &mut Connection) -> Result<i64, OpenError> {
    let failed = |e: sqlx::Error| OpenError::of(path, &e);
    let tables: Vec<String> =
        query_scalar("select name from sqlite_master where type = 'table'").fetch_all(&mut *connection).await.map_err(failed)?;
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|name| name == "_sqlx_migrations") {
        return Err(OpenError::Damaged { path: path.to_owned(), why: "it has tables but no schema version".to_owned() });
    }
    let found: Option<i64> = query_scalar(schema::VERSION).fetch_one(connection).await.map_err(failed)?;
    schema::not_newer(found.unwrap_or(0), STEPS, || what(path))
}

fn what(path: &Path) -> String {
    format!("the state file {}", path.display())
}

/// Brings the schema up to date and sets the mark, in one transaction: two processes that start at once take turns, and
/// one that dies leaves the file as it was.
async fn migrate(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let failed = |e: sqlx::Error| OpenError::of(path, &e);
    let mut transaction = connection.writing().await.map_err(failed)?;
    let steps = schema::steps(STEPS, STEPS.len());
    transaction.migrate(&steps).await.map_err(|e| match e {
        MigrateError::VersionMismatch(step) => OpenError::Between { path: path.to_owned(), step },
        e => OpenError::Failed { path: path.to_owned(), why: format!("bringing its schema up to date: {e}") },
    })?;
    chain::open(&mut transaction).await.map_err(failed)?;
    query(SET_MARK).execute(&mut transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// What each step of the schema is, to see that none is edited.
#[cfg(test)]
pub(super) fn marks() -> Vec<String> {
    schema::marks(STEPS)
}

/// Makes a file as an older version left it.
#[cfg(test)]
pub(super) async fn make_old(path: &Path, version: usize) -> SqliteConnection {
    let mut connection =
        quiet(SqliteConnectOptions::new()).filename(path).create_if_missing(true).connect().await.expect("connect");
    schema::steps(STEPS, version).run(&mut connection).await.expect("migrate");
    sqlx::query(SET_MARK).execute(&mut connection).await.expect("mark");
    connection
}

/// Switches to the write-ahead log, once in a file's life. The switch needs the file alone and does not wait for it by
/// itself (<https://www.sqlite.org/wal.html>), so that two processes which start at once are tried again here.
async fn log_ahead(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let mut tries_left = 50;
    loop {
        match query_scalar::<String>("pragma journal_mode = wal").fetch_one(&mut *connection).await {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                tracing::warn!(
                    state.path = %path.display(), state.mode = %mode,
                    "the file system of the state file does not allow a write-ahead log: readers and writers will wait for each other"
                );
                return Ok(());
            }
            Err(e) if is_busy(&e) && tries_left > 0 => {
                tries_left -= 1;
                tokio::time::sleep(PATIENCE / 50).await;
            }
            Err(e) => return Err(OpenError::of(path, &e)),
        }
    }
}
