//! The journal on a server: what is connected to, how, and which schema is there.
//!
//! A server may be shared, restarted and moved, so nothing is taken for granted: settings that a write's safety rests on are
//! made on each connection, a server that is just starting is waited for, and the schema is made and brought up to date under
//! a lock, so that of several processes that start at once one does it.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;
use url::Url;

use super::chain;
use super::failure::{cause, is_busy, is_loss};
use super::open::OpenError;
use super::schema::{self, Steps};
use super::seats::Seats;
use super::sql::{Connection, Line, query_scalar};

/// The steps of the schema, in order. One that has been released is never edited.
const STEPS: Steps = &[("journal", include_str!("migrations/postgres/0001_journal.sql"))];
/// Readers beside the writer.
const READERS: usize = 2;
/// How long a connection may take, and a sign of life.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a server that cannot be reached is tried, this long apart.
const TRIES: u32 = 10;
const APART: Duration = Duration::from_millis(500);
/// What every connection is told. A process that stands still within a transaction holds up all others, and is cut off; none
/// waits for ever; and nothing that is read depends on how the server is set up.
const SETTINGS: [(&str, &str); 2] = [("idle_in_transaction_session_timeout", "10s"), ("statement_timeout", "60s")];

/// A server, as it is connected to.
#[derive(Clone)]
pub(super) struct Server {
    options: PgConnectOptions,
    name: String,
}

impl Server {
    /// From the address in the configuration, and the password that stands elsewhere.
    pub(super) fn at(url: &str, password: Option<&SecretString>) -> Result<Self, OpenError> {
        let unclear = |why: String| OpenError::Address { why };
        let parsed = Url::parse(url).map_err(|e| unclear(e.to_string()))?;
        // What the driver would pass over in silence may be a spelling of what keeps the connection safe.
        if let Some((key, _)) = parsed.query_pairs().find(|(key, _)| !KNOWN.contains(&&**key)) {
            return Err(unclear(format!("the parameter {key:?} is not known; known are {}", KNOWN.join(", "))));
        }
        if parsed.password().is_some() {
            return Err(unclear("it holds a password".to_owned()));
        }
        let mut options = PgConnectOptions::from_str(url).map_err(|e| unclear(e.to_string()))?;
        if options.get_application_name().is_none() {
            options = options.application_name("rosterd");
        }
        if let Some(password) = password {
            options = options.password(password.expose_secret());
        }
        let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |socket| socket.display().to_string());
        let database = options.get_database().unwrap_or(options.get_username()).to_owned();
        let name = format!("{database} at {host}:{}", options.get_port());
        Ok(Self { options: options.options(SETTINGS).disable_statement_logging(), name })
    }

    /// Opens the journal there; `None` if there is none and it is only to be read.
    pub(super) async fn open(self, read_only: bool) -> Result<Option<Seats>, OpenError> {
        let failed = |e: sqlx::Error| self.failed(&e);
        let mut first = self.connect(!read_only).await.map_err(failed)?;
        let encoding: String = query_scalar("show server_encoding").fetch_one(&mut first).await.map_err(failed)?;
        if encoding != "UTF8" {
            let why = format!(
                "it was made with the encoding {encoding}, and not every name can be written in that: make one with UTF8"
            );
            return Err(OpenError::Server { name: self.name.clone(), why, passing: false });
        }
        let found = self.version(&mut first).await?;
        if read_only {
            let known = STEPS.len() as i64;
            return match found {
                0 => Ok(None),
                found if found < known => Err(OpenError::Older { what: self.what(), found, known }),
                _ => Ok(Some(Seats::at(self.clone(), vec![first, self.connect(false).await.map_err(failed)?], None))),
            };
        }
        self.migrate(&mut first).await?;
        let mut readers = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            readers.push(self.connect(true).await.map_err(failed)?);
        }
        let watch = self.connect(true).await.map_err(failed)?;
        Ok(Some(Seats::at(self, readers, Some((first, watch)))))
    }

    fn what(&self) -> String {
        format!("the database {}", self.name)
    }

    fn failed(&self, error: &sqlx::Error) -> OpenError {
        OpenError::Server { name: self.name.clone(), why: cause(error), passing: is_busy(error) }
    }

    /// Connects. A server that is just starting, or moving, is waited for.
    pub(super) async fn connect(&self, writes: bool) -> Result<Connection, sqlx::Error> {
        let mut tries = 1;
        loop {
            match self.once(writes).await {
                Ok(connection) => return Ok(Connection::Postgres(Line::new(connection))),
                Err(error) if tries < TRIES && is_loss(&error) => {
                    tries += 1;
                    tokio::time::sleep(APART).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn once(&self, writes: bool) -> Result<PgConnection, sqlx::Error> {
        let read_only = [("default_transaction_read_only", "on")];
        let options = if writes { self.options.clone() } else { self.options.clone().options(read_only) };
        let late = |_| sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 5 seconds"));
        timeout(PATIENCE, async move {
            let mut connection = options.connect().await?;
            // An intent that a crash of the server could take back proves nothing.
            const DURABLE: &str =
                "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'";
            sqlx::query(DURABLE).execute(&mut connection).await?;
            Ok(connection)
        })
        .await
        .map_err(late)?
    }

    /// Whether a connection may be spoken on.
    pub(super) async fn answers(&self, connection: &mut Connection) -> bool {
        match connection {
            Connection::Sqlite(_) => true,
            Connection::Postgres(line) => timeout(PATIENCE, line.answers()).await.unwrap_or(false),
        }
    }

    /// The schema's version; 0 if there is none. A newer one is refused.
    async fn version(&self, connection: &mut Connection) -> Result<i64, OpenError> {
        const THERE: &str = "select case when to_regclass('_sqlx_migrations') is null then 'nothing'
            when to_regclass('seals') is null then 'foreign' else 'ours' end";
        let failed = |e: sqlx::Error| self.failed(&e);
        match query_scalar::<String>(THERE).fetch_one(connection).await.map_err(failed)?.as_str() {
            "nothing" => return Ok(0),
            "foreign" => {
                let why = "another program has its tables there: give rosterd a database or a schema of its own".to_owned();
                return Err(OpenError::Server { name: self.name.clone(), why, passing: false });
            }
            _ => {}
        }
        let found: Option<i64> = query_scalar(schema::VERSION).fetch_one(connection).await.map_err(failed)?;
        schema::not_newer(found.unwrap_or(0), STEPS, || self.what())
    }

    /// Brings the schema up to date, in one transaction and under the lock of writers.
    async fn migrate(&self, connection: &mut Connection) -> Result<(), OpenError> {
        let failed = |e: sqlx::Error| self.failed(&e);
        let mut transaction = connection.writing().await.map_err(failed)?;
        if self.version(&mut transaction).await? < STEPS.len() as i64 {
            let steps = schema::steps(STEPS, STEPS.len());
            transaction.migrate(&steps).await.map_err(|e| {
                let why = format!("bringing its schema up to date: {e}");
                OpenError::Server { name: self.name.clone(), why, passing: false }
            })?;
            chain::open(&mut transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}

/// What each step of the schema is, to see that none is edited.
#[cfg(test)]
pub(super) fn marks() -> Vec<String> {
    schema::marks(STEPS)
}

/// What an address may say beside user, host, port and database.
const KNOWN: [&str; 8] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name", "options", "statement-cache-capacity"];
