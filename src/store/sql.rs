//! One way to speak to either database: a statement with its values, a row of either, a transaction on either.
//!
//! Statements keep to what SQLite and PostgreSQL both understand, so that each is written once; where SQLite has a function
//! that PostgreSQL lacks, the schema of the latter brings it. Generics over the driver would say the same with a page of
//! bounds for each function, and the driver's own "any" loses what SQLite knows of a value's type, of which the chain is made.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, future, stream};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::SqliteRow;
use sqlx::{
    Arguments, AssertSqlSafe, ColumnIndex, Connection as _, Database, Decode, Either, Encode, Executor, PgConnection, Postgres,
    Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection, Type, TypeInfo, ValueRef,
};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{Sleep, sleep, timeout};

use super::failure::unsure;

/// A connection to one of the two.
pub(super) enum Connection {
    /// To a file, or to nothing but memory.
    Sqlite(SqliteConnection),
    /// To a server.
    Postgres(Line),
}

/// How long bringing a schema up to date may take: a step may have to go through all that was recorded.
const PATIENCE_FOR_STEPS: Duration = Duration::from_secs(600);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection to a server, which may be lost at any time.
pub(super) struct Line {
    /// `None` once it was given up: then its socket is closed, by which the server takes back what was begun on it.
    connection: Option<PgConnection>,
    /// Cleared while something is said: a line on which that was broken off, or has failed, is not spoken on again.
    sound: bool,
    /// How long an answer, or a further row of one, is waited for. The server has a limit too, but one that hangs, or a network
    /// that swallows, keeps to none.
    patience: Duration,
    /// The same after the transaction in hand.
    usual: Duration,
}

impl Line {
    /// Over a connection that nothing was said on yet.
    pub(super) fn new(connection: PgConnection, patience: Duration) -> Self {
        Self { connection: Some(connection), sound: true, patience, usual: patience }
    }

    /// Asks for a sign of life.
    pub(super) async fn answers(&mut self) -> bool {
        self.sound = match &mut self.connection {
            Some(connection) => self.sound && connection.ping().await.is_ok(),
            None => false,
        };
        self.sound
    }

    /// Says a word of transactions.
    async fn say(
        &mut self,
        word: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<(), sqlx::Error>>,
    ) -> Result<(), sqlx::Error> {
        self.sound = false;
        let said = match &mut self.connection {
            Some(connection) => timeout(self.patience, word(connection)).await.unwrap_or_else(|_| Err(silent(self.patience))),
            None => Err(given_up()),
        };
        self.sound = said.is_ok();
        said
    }
}

fn silent(patience: Duration) -> sqlx::Error {
    let why = format!("no answer within {} seconds", patience.as_secs());
    sqlx::Error::Io(std::io::Error::new(ErrorKind::TimedOut, why))
}

fn given_up() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(ErrorKind::NotConnected, "it was given up"))
}

/// What is said, unless nothing is for too long. Time in which nobody listens does not count.
fn within<T>(
    patience: Duration,
    mut said: BoxStream<'_, Result<T, sqlx::Error>>,
) -> impl Stream<Item = Result<T, sqlx::Error>> + Send {
    let mut silence: Option<Pin<Box<Sleep>>> = None;
    stream::poll_fn(move |context| {
        if let Poll::Ready(next) = said.poll_next_unpin(context) {
            silence = None;
            return Poll::Ready(next);
        }
        ready!(silence.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(context));
        Poll::Ready(Some(Err(silent(patience))))
    })
}

impl From<SqliteConnection> for Connection {
    fn from(connection: SqliteConnection) -> Self {
        Self::Sqlite(connection)
    }
}

impl Connection {
    /// Begins a transaction that writes: alone, from its first statement to its end.
    pub(super) async fn writing(&mut self) -> Result<Transaction<'_>, sqlx::Error> {
        // One writer at a time in all processes, as the chain demands; the lock ends with the transaction. Of the same schema,
        // since one database may hold several journals.
        const TURN: &str = "select pg_advisory_xact_lock(hashtextextended('rosterd ' || current_schema(), 0))";
        // Each statement sees what was there when it began: also what the writer before has written while this one waited.
        let mut transaction = self.begin("begin immediate", "begin isolation level read committed").await?;
        if let Connection::Postgres(_) = *transaction {
            query(TURN).execute(&mut transaction).await?;
        }
        Ok(transaction)
    }

    /// Begins a transaction that sees one moment's state.
    pub(super) async fn snapshot(&mut self) -> Result<Transaction<'_>, sqlx::Error> {
        self.begin("begin", "begin isolation level repeatable read read only").await
    }

    /// Runs the steps of a schema, within a transaction that was begun.
    pub(super) async fn migrate(&mut self, steps: &Migrator) -> Result<(), MigrateError> {
        match self {
            Connection::Sqlite(connection) => steps.run(connection).await,
            Connection::Postgres(line) => match &mut line.connection {
                Some(connection) => timeout(PATIENCE_FOR_STEPS, steps.run(connection))
                    .await
                    .unwrap_or_else(|_| Err(MigrateError::Execute(silent(PATIENCE_FOR_STEPS)))),
                None => Err(MigrateError::Execute(given_up())),
            },
        }
    }

    async fn begin(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<Transaction<'_>, sqlx::Error> {
        // From the start, so that one which is broken off in beginning is taken back.
        let transaction = Transaction { connection: self, open: true };
        match &mut *transaction.connection {
            Connection::Sqlite(c) => Manager::<Sqlite>::begin(c, Some(sqlite.into_sql_str())).await?,
            Connection::Postgres(line) => {
                line.say(|c| Manager::<Postgres>::begin(c, Some(postgres.into_sql_str())).boxed()).await?;
            }
        }
        Ok(transaction)
    }

    /// Closes it and waits for it.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Connection::Sqlite(connection) => connection.close().await,
            Connection::Postgres(line) => match line.connection {
                Some(connection) => timeout(FAREWELL, connection.close()).await.unwrap_or(Ok(())),
                None => Ok(()),
            },
        }
    }
}

type Manager<D> = <D as Database>::TransactionManager;

/// A transaction; dropped without a commit it leaves nothing, at once: on a server it has the lock of all writers, who must not
/// wait until somebody speaks on this connection again, and so its connection is given up.
pub(super) struct Transaction<'c> {
    connection: &'c mut Connection,
    open: bool,
}

impl Transaction<'_> {
    /// Waits for answers for as long as it takes, within reason, until the transaction ends: for what goes through everything,
    /// or waits for somebody else in between.
    pub(super) async fn be_patient(&mut self) -> Result<(), sqlx::Error> {
        let Connection::Postgres(line) = &mut *self.connection else { return Ok(()) };
        line.patience = PATIENCE_FOR_STEPS;
        query("set local idle_in_transaction_session_timeout = 0").execute(self).await?;
        query("set local statement_timeout = 0").execute(self).await.map(drop)
    }

    fn over(&mut self) {
        self.open = false;
        if let Connection::Postgres(line) = &mut *self.connection {
            line.patience = line.usual;
        }
    }

    /// Makes what was written last.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        match &mut *self.connection {
            Connection::Sqlite(c) => Manager::<Sqlite>::commit(c).await?,
            Connection::Postgres(line) => line.say(|c| Manager::<Postgres>::commit(c).boxed()).await.map_err(unsure)?,
        }
        self.over();
        Ok(())
    }

    /// Ends a transaction that has only read.
    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        match &mut *self.connection {
            Connection::Sqlite(c) => Manager::<Sqlite>::rollback(c).await?,
            Connection::Postgres(line) => line.say(|c| Manager::<Postgres>::rollback(c).boxed()).await?,
        }
        self.over();
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            match &mut *self.connection {
                Connection::Sqlite(c) => Manager::<Sqlite>::start_rollback(c),
                Connection::Postgres(line) => line.connection = None,
            }
        }
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
    }
}

/// A value for a place in a statement.
pub(super) enum Value<'q> {
    Int(Option<i64>),
    Text(Option<Cow<'q, str>>),
    Bytes(Option<Cow<'q, [u8]>>),
}

macro_rules! values {
    ($($from:ty => $kind:ident($value:ident) $make:expr;)*) => {
        $(impl<'q> From<$from> for Value<'q> {
            fn from($value: $from) -> Self {
                Value::$kind($make)
            }
        })*
    };
}
values! {
    i64 => Int(value) Some(value);
    &'q i64 => Int(value) Some(*value);
    Option<i64> => Int(value) value;
    &'q str => Text(value) Some(value.into());
    &'q String => Text(value) Some(value.into());
    String => Text(value) Some(value.into());
    Option<&'q str> => Text(value) value.map(Into::into);
    Option<String> => Text(value) value.map(Into::into);
    &'q Option<String> => Text(value) value.as_deref().map(Into::into);
    &'q [u8] => Bytes(value) Some(value.into());
    Option<Vec<u8>> => Bytes(value) value.map(Into::into);
}

/// PostgreSQL's text holds every character but the one of number zero, which no name and no message has by right.
fn storable(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text }
}

/// The values as a driver takes them.
fn arguments<D: Database>(values: Vec<Value<'_>>, text: fn(Cow<'_, str>) -> Cow<'_, str>) -> Result<D::Arguments, sqlx::Error>
where
    for<'v> Option<i64>: Encode<'v, D> + Type<D>,
    for<'v> Option<String>: Encode<'v, D> + Type<D>,
    for<'v> Option<Vec<u8>>: Encode<'v, D> + Type<D>,
{
    let mut arguments = D::Arguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value.map(|value| text(value).into_owned())),
            Value::Bytes(value) => arguments.add(value.map(Cow::into_owned)),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn pg_arguments(values: Vec<Value<'_>>) -> Result<PgArguments, sqlx::Error> {
    arguments::<Postgres>(values, storable)
}

/// A statement with its values.
#[must_use]
pub(super) struct Query<'q> {
    sql: SqlStr,
    values: Vec<Value<'q>>,
}

/// A statement without values yet; `$1` and so on are their places.
pub(super) fn query<'q>(sql: &'static str) -> Query<'q> {
    Query { sql: sql.into_sql_str(), values: Vec::new() }
}

/// A statement of which the first column is wanted.
pub(super) fn query_scalar<'q, T>(sql: &'static str) -> Scalar<'q, T> {
    Scalar { query: query(sql), of: PhantomData }
}

impl<'q> Query<'q> {
    /// Gives the next place its value.
    pub(super) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Does it: rows as they come, and at the end how many rows it was done to.
    fn say<'c>(self, on: &'c mut Connection) -> BoxStream<'c, Result<Either<u64, Row>, sqlx::Error>> {
        let Query { sql, values } = self;
        let failed = |error| stream::once(future::ready(Err(error))).boxed();
        match on {
            Connection::Sqlite(connection) => match arguments::<Sqlite>(values, |text| text) {
                Ok(values) => connection
                    .fetch_many(sqlx::query_with(sql, values))
                    .map_ok(|said| said.map_either(|done| done.rows_affected(), Row::Sqlite))
                    .boxed(),
                Err(error) => failed(error),
            },
            Connection::Postgres(Line { connection: None, .. }) => failed(given_up()),
            Connection::Postgres(Line { connection: Some(connection), sound, patience, .. }) => match pg_arguments(values) {
                Ok(values) => {
                    *sound = false;
                    // Nobody reads on after an error, nor after having been broken off: only what was said to its end gets here.
                    let end = stream::poll_fn(move |_| {
                        *sound = true;
                        Poll::Ready(None)
                    });
                    within(*patience, connection.fetch_many(sqlx::query_with(sql, values)))
                        .map_ok(|said| said.map_either(|done| done.rows_affected(), Row::Postgres))
                        .chain(end)
                        .boxed()
                }
                Err(error) => failed(error),
            },
        }
    }

    /// Does it, and tells how many rows it was done to.
    pub(super) async fn execute(self, on: &mut Connection) -> Result<u64, sqlx::Error> {
        let count = |sum, said: Either<u64, Row>| future::ready(Ok(sum + said.left().unwrap_or(0)));
        self.say(on).try_fold(0, count).await
    }

    /// Row after row, for what is too much at once.
    pub(super) fn fetch<'c>(self, on: &'c mut Connection) -> BoxStream<'c, Result<Row, sqlx::Error>> {
        self.say(on).try_filter_map(|said| future::ready(Ok(said.right()))).boxed()
    }

    /// All rows.
    pub(super) async fn fetch_all(self, on: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        self.fetch(on).try_collect().await
    }

    /// The first row, if there is any.
    pub(super) async fn fetch_optional(self, on: &mut Connection) -> Result<Option<Row>, sqlx::Error> {
        // To its end, even if nobody wants the rest: what writes is done only then.
        Ok(self.fetch_all(on).await?.into_iter().next())
    }

    /// The one row.
    pub(super) async fn fetch_one(self, on: &mut Connection) -> Result<Row, sqlx::Error> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// A statement that is put together from parts. Values are never part of the text.
pub(super) struct Builder<'q> {
    sql: String,
    values: Vec<Value<'q>>,
}

impl<'q> Builder<'q> {
    /// Begins with this text.
    pub(super) fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Adds text.
    pub(super) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a place with its value.
    pub(super) fn push_bind(&mut self, value: impl Into<Value<'q>>) -> &mut Self {
        self.values.push(value.into());
        let place = format!("${}", self.values.len());
        self.push(&place)
    }

    /// The statement.
    pub(super) fn build(self) -> Query<'q> {
        Query { sql: AssertSqlSafe(self.sql).into_sql_str(), values: self.values }
    }
}

/// A statement of which the first column is wanted.
#[must_use]
pub(super) struct Scalar<'q, T> {
    query: Query<'q>,
    of: PhantomData<fn() -> T>,
}

impl<'q, T: for<'r> Cell<'r>> Scalar<'q, T> {
    /// Gives the next place its value.
    pub(super) fn bind(self, value: impl Into<Value<'q>>) -> Self {
        Self { query: self.query.bind(value), ..self }
    }

    /// Of all rows.
    pub(super) async fn fetch_all(self, on: &mut Connection) -> Result<Vec<T>, sqlx::Error> {
        self.query.fetch(on).and_then(|row| future::ready(row.try_get(0))).try_collect().await
    }

    /// Of the first row, if there is any.
    pub(super) async fn fetch_optional(self, on: &mut Connection) -> Result<Option<T>, sqlx::Error> {
        self.query.fetch_optional(on).await?.map(|row| row.try_get(0)).transpose()
    }

    /// Of the one row.
    pub(super) async fn fetch_one(self, on: &mut Connection) -> Result<T, sqlx::Error> {
        self.query.fetch_one(on).await?.try_get(0)
    }
}

/// A row of either.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What can be read from a column of either.
pub(super) trait Cell<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}
impl<'r, T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>> Cell<'r> for T {}

/// A column by name or number.
pub(super) trait Place: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> {}
impl<T: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>> Place for T {}

/// A value as it stands in a row, with the type that it has and not the one that it should have.
pub(super) enum Raw<'r> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'r str),
    Bytes(&'r [u8]),
}

impl Row {
    /// Reads a column.
    pub(super) fn try_get<'r, T: Cell<'r>>(&'r self, at: impl Place) -> Result<T, sqlx::Error> {
        match self {
            Row::Sqlite(row) => row.try_get(at),
            Row::Postgres(row) => row.try_get(at),
        }
    }

    /// How many columns there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Row::Sqlite(row) => row.len(),
            Row::Postgres(row) => row.len(),
        }
    }

    /// Reads a column as it is.
    pub(super) fn raw(&self, at: usize) -> Result<Raw<'_>, sqlx::Error> {
        let name = match self {
            Row::Sqlite(row) => kind(row.try_get_raw(at)?),
            Row::Postgres(row) => kind(row.try_get_raw(at)?),
        };
        Ok(match name.as_deref() {
            None => Raw::Null,
            Some("INTEGER" | "INT8") => Raw::Int(self.unchecked(at)?),
            Some("REAL" | "FLOAT8") => Raw::Real(self.unchecked(at)?),
            Some("BLOB" | "BYTEA") => Raw::Bytes(self.unchecked(at)?),
            Some(_) => Raw::Text(self.unchecked(at)?),
        })
    }

    fn unchecked<'r, T: Cell<'r>>(&'r self, at: usize) -> Result<T, sqlx::Error> {
        match self {
            Row::Sqlite(row) => row.try_get_unchecked(at),
            Row::Postgres(row) => row.try_get_unchecked(at),
        }
    }
}

/// The name of a value's type; `None` for no value.
fn kind<'r>(value: impl ValueRef<'r>) -> Option<String> {
    (!value.is_null()).then(|| value.type_info().name().to_owned())
}
