//! The connections to one store: one that writes, a few that read.
//!
//! SQLite lets one writer in at a time, and so does the chain on any store, so writers queue here, in order and without
//! polling, instead of at the store's lock. A pool would do the same with time-outs of its own; there are none here, because
//! waiting for the own process always ends, and because a time-out of the async runtime has no meaning to tests that stop the
//! clock.
//!
//! A server is another machine. There a connection may be lost at any moment: each seat asks for a sign of life before it is
//! given away, and one that is dead is replaced. And there leases have a seat of their own, since a lease that waits behind a
//! long write runs out.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::{Mutex, MutexGuard};

use super::failure::{failed, refused};
use super::fence::{Fence, UnderWay};
use super::moved;
use super::server::Server;
use super::sql::{Connection, Transaction};
use crate::contract::journal::{JournalError, Lease};

/// A reading of a file that nobody had open, without locks; see [`Seats::frozen`].
struct Frozen {
    /// Files whose appearance tells that somebody has begun to write.
    signs: Vec<PathBuf>,
    /// How to join that somebody.
    join: SqliteConnectOptions,
    joined: AtomicBool,
}

/// The connections to one store, and what their holder's writes must prove. Cheap to clone.
#[derive(Clone)]
pub(super) struct Seats {
    house: Arc<House>,
    fence: Option<Arc<Fence>>,
}

struct House {
    writer: Option<Mutex<Connection>>,
    readers: Vec<Mutex<Connection>>,
    /// For leases; without one they are the writer's.
    watch: Option<Mutex<Connection>>,
    next: AtomicUsize,
    frozen: Option<Frozen>,
    server: Option<Server>,
}

impl Seats {
    fn of(house: House) -> Self {
        Self { house: Arc::new(house), fence: None }
    }

    fn in_house(writer: Option<Connection>, readers: Vec<Connection>) -> House {
        let readers = readers.into_iter().map(Mutex::new).collect();
        House { writer: writer.map(Mutex::new), readers, watch: None, next: AtomicUsize::new(0), frozen: None, server: None }
    }

    /// One writer, and readers beside it; without any the writer reads too.
    pub(super) fn new(writer: Connection, readers: Vec<Connection>) -> Self {
        Self::of(Self::in_house(Some(writer), readers))
    }

    /// A reader only: every write is refused.
    pub(super) fn read_only(reader: Connection) -> Self {
        Self::of(Self::in_house(None, vec![reader]))
    }

    /// A reader of a file that nobody has open, without locks and without companions beside the file. The file cannot
    /// change as long as none of `signs` appears: whoever writes creates its log first. From then on reading joins the
    /// writer by `join`, as any reader does.
    pub(super) fn frozen(reader: Connection, signs: Vec<PathBuf>, join: SqliteConnectOptions) -> Self {
        let frozen = Some(Frozen { signs, join, joined: AtomicBool::new(false) });
        Self::of(House { frozen, ..Self::in_house(None, vec![reader]) })
    }

    /// The seats at a server: readers, and unless they are all there is, a writer and one for leases.
    pub(super) fn at(server: Server, readers: Vec<Connection>, writers: Option<(Connection, Connection)>) -> Self {
        let (writer, watch) = writers.unzip();
        Self::of(House { watch: watch.map(Mutex::new), server: Some(server), ..Self::in_house(writer, readers) })
    }

    /// The same seats, from which nothing is written unless this lease is still held.
    pub(super) fn fenced(&self, lease: &Lease) -> Self {
        self.fenced_by(Fence::new(lease))
    }

    /// The same by a fence that was made already.
    pub(super) fn fenced_by(&self, fence: Fence) -> Self {
        Self { house: self.house.clone(), fence: Some(Arc::new(fence)) }
    }

    /// What writes must prove.
    pub(super) fn fence(&self) -> Option<&Fence> {
        self.fence.as_deref()
    }

    /// Whether other machines may be at work on the same store.
    pub(super) fn is_shared(&self) -> bool {
        self.house.server.is_some()
    }

    /// Waits for a connection to read with.
    pub(super) async fn reader(&self, doing: &'static str) -> Result<MutexGuard<'_, Connection>, JournalError> {
        let house = &*self.house;
        if let Some(free) = house.readers.iter().find_map(|seat| seat.try_lock().ok()) {
            return house.ready(free, doing).await;
        }
        let turn = house.next.fetch_add(1, Ordering::Relaxed);
        let seat = match house.readers.len() {
            0 => house.writer.as_ref().expect("seats have a reader or a writer"),
            some => &house.readers[turn % some],
        };
        house.ready(seat.lock().await, doing).await
    }

    /// Waits for the connection to write with.
    pub(super) async fn writer(&self, doing: &'static str) -> Result<WriterSeat<'_>, JournalError> {
        let fence = self.fence.as_deref();
        let under_way = fence.map(Fence::write);
        let connection = self.house.own(self.house.writer.as_ref(), doing).await?;
        Ok(WriterSeat { connection, fence, doing, _under_way: under_way })
    }

    /// Waits for the connection that leases are taken with.
    pub(super) async fn watch(&self, doing: &'static str) -> Result<MutexGuard<'_, Connection>, JournalError> {
        let seat = self.house.watch.as_ref().or(self.house.writer.as_ref());
        self.house.own(seat, doing).await
    }

    /// Closes all connections; the last one to a file moves its log into it. Does nothing while somebody else sits here.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        let Some(house) = Arc::into_inner(self.house) else { return Ok(()) };
        for seat in house.readers.into_iter().chain(house.watch).chain(house.writer) {
            seat.into_inner().close().await?;
        }
        Ok(())
    }
}

impl House {
    async fn own<'s>(
        &'s self,
        seat: Option<&'s Mutex<Connection>>,
        doing: &'static str,
    ) -> Result<MutexGuard<'s, Connection>, JournalError> {
        match seat {
            Some(seat) => self.ready(seat.lock().await, doing).await,
            None => Err(refused(doing, "it is open for reading only, as a dry run leaves no trace")),
        }
    }

    async fn ready<'s>(
        &'s self,
        mut seat: MutexGuard<'s, Connection>,
        doing: &'static str,
    ) -> Result<MutexGuard<'s, Connection>, JournalError> {
        if let Some(frozen) = &self.frozen
            && !frozen.joined.load(Ordering::Relaxed)
            && frozen.signs.iter().any(|sign| sign.exists())
        {
            *seat = frozen.join.connect().await.map_err(failed(doing))?.into();
            frozen.joined.store(true, Ordering::Relaxed);
        }
        if let Some(server) = &self.server
            && !server.answers(&mut seat).await
        {
            *seat = server.connect(self.writer.is_some()).await.map_err(failed(doing))?;
        }
        Ok(seat)
    }
}

/// The connection to write with, once it is there.
pub(super) struct WriterSeat<'s> {
    connection: MutexGuard<'s, Connection>,
    fence: Option<&'s Fence>,
    doing: &'static str,
    _under_way: Option<UnderWay<'s>>,
}

impl WriterSeat<'_> {
    /// Begins a write: it waits for its turn at the start instead of being refused in the middle, and what must be proved is
    /// proved within it.
    pub(super) async fn writing(&mut self) -> Result<Transaction<'_>, JournalError> {
        let (fence, doing) = (self.fence, self.doing);
        let mut transaction = self.writing_wherever().await?;
        moved::refuse(&mut transaction, doing).await?;
        if let Some(fence) = fence {
            fence.proved(&mut transaction, doing).await?;
        }
        Ok(transaction)
    }

    /// The same in a store that may have been copied elsewhere, and without proof.
    pub(super) async fn writing_wherever(&mut self) -> Result<Transaction<'_>, JournalError> {
        self.connection.writing().await.map_err(failed(self.doing))
    }
}
