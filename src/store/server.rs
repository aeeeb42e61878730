//! The journal on a server: what is connected to, how, and which schema is there.
//!
//! A server may be shared, restarted and moved, so nothing is taken for granted: settings that a write's safety rests on are
//! made on each connection, a server that is just starting is waited for, and the schema is made and brought up to date under
//! a lock, so that of several processes that start at once one does it.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;
use url::Url;

use super::Password;
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
/// How long an answer is waited for, and the lock of all writers.
const ANSWER: Duration = Duration::from_secs(30);
/// How often a server that cannot be reached is tried, this long apart.
const TRIES: u32 = 10;
const APART: Duration = Duration::from_millis(500);
/// What every connection is told. A process that stands still within a transaction holds up all others, and is cut off; and the
/// server gives up on what nobody waits for any more.
const SETTINGS: [(&str, &str); 2] = [("idle_in_transaction_session_timeout", "10s"), ("statement_timeout", "60s")];

/// A server, as it is connected to.
#[derive(Clone)]
pub(super) struct Server {
    options: PgConnectOptions,
    password: Option<Password>,
    name: String,
    /// How long an answer is waited for.
    answer: Duration,
}

/// Our own word in an address: whoever is between rosterd and the database may be anybody.
const INSECURE: &str = "allow_insecure";

impl Server {
    /// From the address in the configuration, and the password that stands elsewhere.
    pub(super) fn at(url: &str, password: Option<&Password>) -> Result<Self, OpenError> {
        let unclear = |why: String| OpenError::Address { why };
        let parsed = Url::parse(url).map_err(|e| unclear(e.to_string()))?;
        // What the driver would pass over in silence may be a spelling of what keeps the connection safe.
        if let Some((key, _)) = parsed.query_pairs().find(|(key, _)| *key != INSECURE && !KNOWN.contains(&&**key)) {
            return Err(unclear(format!("the parameter {key:?} is not known; known are {}", KNOWN.join(", "))));
        }
        if parsed.password().is_some() {
            return Err(unclear("it holds a password".to_owned()));
        }
        let mut options = PgConnectOptions::from_str(&for_the_driver(&parsed)).map_err(|e| unclear(e.to_string()))?;
        options = guarded(&parsed, options).map_err(unclear)?;
        if options.get_application_name().is_none() {
            options = options.application_name("rosterd");
        }
        let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |socket| socket.display().to_string());
        let database = options.get_database().unwrap_or(options.get_username()).to_owned();
        let name = format!("{database} at {host}:{}", options.get_port());
        let options = options.options(SETTINGS).disable_statement_logging();
        Ok(Self { options, password: password.cloned(), name, answer: ANSWER })
    }

    /// How the connection is guarded.
    #[cfg(test)]
    pub(super) fn ssl_mode(&self) -> PgSslMode {
        self.options.get_ssl_mode()
    }

    /// The same with less patience, for tests of what does not answer.
    #[cfg(test)]
    pub(super) fn with_answers_within(self, answer: Duration) -> Self {
        Self { answer, ..self }
    }

    /// Opens the journal there; `None` if there is none and it is not to be made.
    pub(super) async fn open(self, read_only: bool, create: bool) -> Result<Option<Seats>, OpenError> {
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
        if found == 0 && !create {
            return Ok(None);
        }
        // Who has nothing to bring up to date waits for nobody's write.
        if found < STEPS.len() as i64 {
            self.migrate(&mut first).await?;
        }
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
                Ok(connection) => return Ok(Connection::Postgres(Line::new(connection, self.answer))),
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
        let mut options = if writes { self.options.clone() } else { self.options.clone().options(read_only) };
        if let Some(password) = &self.password {
            // Anew each time: it may have been changed, there and here, since the last connection was made.
            let password = password().map_err(|why| sqlx::Error::Configuration(why.into()))?;
            options = options.password(password.expose_secret());
        }
        let late = |_| sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 5 seconds"));
        timeout(PATIENCE, async move {
            let mut connection = options.connect().await?;
            // An intent that a crash of the server, or a failover, could take back proves nothing.
            // Said in any case: what was said for a session outlives a change of the server's own settings.
            const DURABLE: &str =
                "select set_config('synchronous_commit', case when said in ('off', 'local') then 'on' else said end, false)
                from current_setting('synchronous_commit') as said";
            sqlx::query(DURABLE).execute(&mut connection).await?;
            // After a failover the name may lead to the old server for a while, which answers, and knows nothing new.
            let (standby,): (bool,) = sqlx::query_as("select pg_is_in_recovery()").fetch_one(&mut connection).await?;
            if writes && standby {
                let why = "it is a standby, which takes no writes: the address must lead to the primary";
                return Err(sqlx::Error::Io(std::io::Error::other(why)));
            }
            // Whoever waits there for a lock, or is at work, looks now and then whether we are still here. Not every server can.
            const STILL_HERE: &str =
                "select set_config(name, '1s', false) from pg_settings where name = 'client_connection_check_interval'";
            if let Err(error) = sqlx::query(STILL_HERE).execute(&mut connection).await
                && error.as_database_error().is_none()
            {
                return Err(error);
            }
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

/// The address without the word that is ours alone.
fn for_the_driver(url: &Url) -> String {
    let mut url = url.clone();
    let pairs: Vec<(String, String)> =
        url.query_pairs().filter(|(key, _)| key != INSECURE).map(|(k, v)| (k.into(), v.into())).collect();
    url.set_query(None);
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url.into()
}

/// With a connection that nobody in between can read or change, unless the server is this very machine or the address says in
/// so many words that it need not be. The driver's own default, and what its environment says, would let anybody answer.
fn guarded(url: &Url, options: PgConnectOptions) -> Result<PgConnectOptions, String> {
    let of = |wanted: &str| url.query_pairs().find(|(key, _)| key == wanted).map(|(_, value)| value.into_owned());
    let host = options.get_host().trim_matches(['[', ']']);
    let is_here = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let may_be_weak = match of(INSECURE).as_deref() {
        None | Some("false") => is_here,
        Some("true") => true,
        Some(_) => return Err(format!("{INSECURE} is true or false")),
    };
    let Some(said) = of("sslmode") else {
        return Ok(options.ssl_mode(if is_here { PgSslMode::Prefer } else { PgSslMode::VerifyFull }));
    };
    let mode: PgSslMode = said.parse().map_err(|e: sqlx::Error| e.to_string())?;
    match mode {
        PgSslMode::VerifyFull | PgSslMode::VerifyCa => {}
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require if may_be_weak => {}
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require => {
            return Err(format!(
                "with sslmode={said} anybody between here and {host} may read and change what is said; verify-full is what is done \
                 where nothing is said, and where something else guards the connection, {INSECURE}=true says so"
            ));
        }
    }
    Ok(options.ssl_mode(mode))
}

/// What an address may say beside user, host, port and database.
const KNOWN: [&str; 8] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name", "options", "statement-cache-capacity"];
