//! A journal over which a process dies: at the n-th thing written it stops for ever, fails, or lets something happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rosterd::contract::chain::{Head, Verification};
use rosterd::contract::history::{ChangeQuery, Told};
use rosterd::contract::journal::{
    ChangeRecord, Effect, Freshness, Intent, IntentId, Journal, JournalError, Lease, Refused, Removals, Rest, RunEnd, RunQuery,
    RunRecord, RunStart, Settlement, Sizes, Staged, Standing, Waits,
};
use rosterd::contract::notice::{Ailing, Expiring, Note, NoteId, Notice};
use rosterd::contract::verdict::{Decision, Hold, Release, SavedPlan};
use rosterd::model::key::{JobName, RunId, SystemName, TargetKey};
use rosterd::model::ledger::Ledger;
use rosterd::model::link::Links;
use rosterd::model::retry::{Retry, Subject};

/// What happens at the n-th write.
pub enum Blow {
    /// The process dies before it is written.
    Before,
    /// The process dies after it is written.
    After,
    /// The store cannot write it.
    Error,
}

type Hook = Box<dyn Fn(&'static str, usize) + Send + Sync>;

/// See the file's head.
pub struct Brittle {
    inner: Arc<dyn Journal>,
    fate: Arc<Fate>,
}

/// What happens, and what has happened so far.
struct Fate {
    at: usize,
    blow: Option<Blow>,
    /// Told of each write with its name and number, before it is made.
    hook: Hook,
    settling: Option<(SystemName, Box<dyn Fn() + Send + Sync>)>,
    written: AtomicUsize,
    died: tokio::sync::Notify,
    fatal: std::sync::Mutex<Option<&'static str>>,
    unreadable: AtomicBool,
    /// The number of the reading that meets a locked store, and how many there were.
    locked_at: usize,
    read: AtomicUsize,
    /// Whether others are taken to be at work on it from elsewhere.
    shared: bool,
    /// Whether each call is waited for on the spot.
    steady: bool,
}

impl Fate {
    fn new(at: usize, blow: Option<Blow>, hook: Hook) -> Self {
        let (written, died, fatal) = (AtomicUsize::new(0), tokio::sync::Notify::new(), std::sync::Mutex::default());
        let (unreadable, read) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self {
            at,
            blow,
            hook,
            settling: None,
            written,
            died,
            fatal,
            unreadable,
            locked_at: 0,
            read,
            shared: false,
            steady: false,
        }
    }
}

impl Brittle {
    /// Dies at the n-th write, counted from 1.
    pub fn dying(inner: Arc<dyn Journal>, at: usize, blow: Blow) -> Arc<Self> {
        Self::new(inner, at, Some(blow), Box::new(|_, _| {}))
    }

    /// Meets a locked store at the n-th reading, counted from 1, and once more at the one after it.
    pub fn locked(inner: Arc<dyn Journal>, at: usize) -> Arc<Self> {
        let fate = Fate { locked_at: at, ..Fate::new(0, None, Box::new(|_, _| {})) };
        Arc::new(Self { inner, fate: Arc::new(fate) })
    }

    /// Waits for each call on the spot: the store's own threads do not decide who among several is served first, so that what
    /// is played is the same each time. Not for a store whose calls wait for one another.
    pub fn steady(inner: Arc<dyn Journal>) -> Arc<Self> {
        let fate = Fate { steady: true, ..Fate::new(0, None, Box::new(|_, _| {})) };
        Arc::new(Self { inner, fate: Arc::new(fate) })
    }

    async fn asked<T>(&self, call: impl Future<Output = T> + Send) -> T {
        match self.fate.steady {
            // The runtime's budget is for those who come back to the runtime.
            true => futures::executor::block_on(tokio::task::unconstrained(call)),
            false => call.await,
        }
    }

    /// Tells of each write.
    pub fn telling(inner: Arc<dyn Journal>, hook: impl Fn(&'static str, usize) + Send + Sync + 'static) -> Arc<Self> {
        Self::new(inner, 0, None, Box::new(hook))
    }

    /// A journal on which others are at work from elsewhere.
    pub fn shared(inner: Arc<dyn Journal>) -> Arc<Self> {
        let fate = Fate { shared: true, ..Fate::new(0, None, Box::new(|_, _| {})) };
        Arc::new(Self { inner, fate: Arc::new(fate) })
    }

    /// Told of each settlement at one target, before it is written.
    pub fn settling(inner: Arc<dyn Journal>, target: SystemName, hook: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let settling = Some((target, Box::new(hook) as Box<_>));
        Arc::new(Self { inner, fate: Arc::new(Fate { settling, ..Fate::new(0, None, Box::new(|_, _| {})) }) })
    }

    fn new(inner: Arc<dyn Journal>, at: usize, blow: Option<Blow>, hook: Hook) -> Arc<Self> {
        Arc::new(Self { inner, fate: Arc::new(Fate::new(at, blow, hook)) })
    }

    /// Lets nobody read runs and rests, or does again.
    pub fn shut(&self, unreadable: bool) {
        self.fate.unreadable.store(unreadable, Ordering::SeqCst);
    }

    async fn read<T>(&self, call: impl Future<Output = Result<T, JournalError>> + Send) -> Result<T, JournalError> {
        let number = self.fate.read.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fate.locked_at {
            0 => self.asked(call).await,
            at if number == at || number == at + 1 => {
                Err(JournalError { doing: "read", why: "the database is locked".into(), passing: true })
            }
            _ => self.asked(call).await,
        }
    }

    fn readable(&self) -> Result<(), JournalError> {
        let shut = self.fate.unreadable.load(Ordering::SeqCst);
        if shut { Err(JournalError { doing: "read", why: "the disk is gone".into(), passing: false }) } else { Ok(()) }
    }

    /// The name of the write at which it died.
    pub fn fatal(&self) -> Option<&'static str> {
        *self.fate.fatal.lock().expect("not poisoned")
    }

    /// Resolves when the process has died.
    pub async fn died(&self) {
        self.fate.died.notified().await;
    }

    async fn write<T: Send>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, JournalError>> + Send,
    ) -> Result<T, JournalError> {
        let number = self.fate.written.fetch_add(1, Ordering::SeqCst) + 1;
        (self.fate.hook)(what, number);
        match &self.fate.blow {
            // Whoever is dead writes nothing more.
            Some(Blow::Before | Blow::After) if number > self.fate.at => std::future::pending().await,
            Some(blow) if number == self.fate.at => {
                *self.fate.fatal.lock().expect("not poisoned") = Some(what);
                match blow {
                    Blow::Error => return Err(JournalError { doing: what, why: "the disk is full".into(), passing: false }),
                    Blow::Before => {}
                    Blow::After => drop(call.await?),
                }
                self.fate.died.notify_one();
                std::future::pending().await
            }
            Some(_) | None => self.asked(call).await,
        }
    }
}

#[async_trait]
impl Journal for Brittle {
    async fn links(&self, target: &SystemName) -> Result<Links, JournalError> {
        self.read(self.inner.links(target)).await
    }
    async fn ledger(&self, target: &SystemName) -> Result<Ledger, JournalError> {
        self.read(self.inner.ledger(target)).await
    }
    async fn record(&self, target: &SystemName, effects: &[Effect]) -> Result<(), JournalError> {
        self.write("record", self.inner.record(target, effects)).await
    }
    async fn begin(&self, start: &RunStart) -> Result<(), JournalError> {
        self.write("begin", self.inner.begin(start)).await
    }
    async fn end(&self, run: &RunId, end: &RunEnd) -> Result<Head, JournalError> {
        self.write("end", self.inner.end(run, end)).await
    }
    async fn intend(
        &self,
        run: &RunId,
        target: &SystemName,
        intents: &[Intent],
        at: DateTime<Utc>,
    ) -> Result<Vec<IntentId>, JournalError> {
        self.write("intend", self.inner.intend(run, target, intents, at)).await
    }
    async fn settle(&self, target: &SystemName, settlements: &[Settlement], at: DateTime<Utc>) -> Result<(), JournalError> {
        if let Some((_, hook)) = self.fate.settling.as_ref().filter(|(at, _)| at == target) {
            hook();
        }
        self.write("settle", self.inner.settle(target, settlements, at)).await
    }
    async fn recover(&self, target: &SystemName, at: DateTime<Utc>) -> Result<Vec<ChangeRecord>, JournalError> {
        self.write("recover", self.inner.recover(target, at)).await
    }
    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, JournalError> {
        self.readable()?;
        self.read(self.inner.runs(query)).await
    }
    async fn run(&self, id: &str) -> Result<Option<RunRecord>, JournalError> {
        self.read(self.inner.run(id)).await
    }
    async fn changes(&self, run: &RunId) -> Result<Vec<ChangeRecord>, JournalError> {
        self.read(self.inner.changes(run)).await
    }
    async fn history(&self, query: &ChangeQuery) -> Result<Vec<Told>, JournalError> {
        self.read(self.inner.history(query)).await
    }
    async fn last_began(&self, job: &JobName) -> Result<Option<DateTime<Utc>>, JournalError> {
        self.read(self.inner.last_began(job)).await
    }
    async fn freshness(&self, job: &JobName, target: &SystemName) -> Result<Freshness, JournalError> {
        self.read(self.inner.freshness(job, target)).await
    }
    async fn sizes(&self, job: &JobName, target: &SystemName) -> Result<Option<Sizes>, JournalError> {
        self.read(self.inner.sizes(job, target)).await
    }
    async fn removals_since(&self, target: &SystemName, since: DateTime<Utc>) -> Result<Removals, JournalError> {
        self.read(self.inner.removals_since(target, since)).await
    }
    async fn stage(&self, job: &JobName, target: &SystemName, staged: &[Staged]) -> Result<(), JournalError> {
        self.write("stage", self.inner.stage(job, target, staged)).await
    }
    async fn staged(&self) -> Result<Vec<Staged>, JournalError> {
        self.read(self.inner.staged()).await
    }
    async fn save_plan(&self, plan: &SavedPlan) -> Result<(), JournalError> {
        self.write("save a plan", self.inner.save_plan(plan)).await
    }
    async fn saved_plans(&self, id: &str) -> Result<Vec<SavedPlan>, JournalError> {
        self.read(self.inner.saved_plans(id)).await
    }
    async fn decide(&self, decided: &[Decision]) -> Result<(), JournalError> {
        self.write("decide", self.inner.decide(decided)).await
    }
    async fn decisions(&self) -> Result<Vec<Decision>, JournalError> {
        self.read(self.inner.decisions()).await
    }
    async fn undecide(
        &self,
        job: &JobName,
        target: &SystemName,
        marks: &[String],
        at: DateTime<Utc>,
    ) -> Result<(), JournalError> {
        self.write("undecide", self.inner.undecide(job, target, marks, at)).await
    }
    async fn hold(&self, holds: &[Hold]) -> Result<(), JournalError> {
        self.write("hold", self.inner.hold(holds)).await
    }
    async fn wish(&self, holds: &[Hold]) -> Result<(), JournalError> {
        self.write("wish", self.inner.wish(holds)).await
    }
    async fn holds(&self) -> Result<Vec<Hold>, JournalError> {
        self.read(self.inner.holds()).await
    }
    async fn let_go(&self, job: &JobName, target: &SystemName, users: &[TargetKey]) -> Result<(), JournalError> {
        self.write("let go", self.inner.let_go(job, target, users)).await
    }
    async fn enqueue(&self, retries: &[Retry]) -> Result<(), JournalError> {
        self.write("enqueue", self.inner.enqueue(retries)).await
    }
    async fn dequeue(&self, job: &JobName, target: &SystemName, subjects: &[Subject]) -> Result<(), JournalError> {
        self.write("dequeue", self.inner.dequeue(job, target, subjects)).await
    }
    async fn retries(&self) -> Result<Vec<Retry>, JournalError> {
        self.read(self.inner.retries()).await
    }
    async fn waits(&self) -> Result<BTreeMap<(JobName, SystemName), Waits>, JournalError> {
        self.readable()?;
        self.read(self.inner.waits()).await
    }
    async fn rests(&self) -> Result<Vec<Rest>, JournalError> {
        self.readable()?;
        self.read(self.inner.rests()).await
    }
    async fn refused(&self) -> Result<Vec<Refused>, JournalError> {
        self.read(self.inner.refused()).await
    }
    async fn forgive(&self, system: &SystemName) -> Result<bool, JournalError> {
        self.write("forgive", self.inner.forgive(system)).await
    }
    async fn rest(&self, system: &SystemName, rest: Option<&Rest>) -> Result<(), JournalError> {
        self.write("rest", self.inner.rest(system, rest)).await
    }
    async fn ailing(&self) -> Result<Vec<Ailing>, JournalError> {
        self.read(self.inner.ailing()).await
    }
    async fn heal(&self, system: &SystemName, notices: &[Notice]) -> Result<(), JournalError> {
        self.write("heal", self.inner.heal(system, notices)).await
    }
    async fn expiring(&self) -> Result<Vec<Expiring>, JournalError> {
        self.read(self.inner.expiring()).await
    }
    async fn expire(&self, system: &SystemName, expiring: Option<&Expiring>, notices: &[Notice]) -> Result<(), JournalError> {
        self.write("expire", self.inner.expire(system, expiring, notices)).await
    }
    async fn release(&self, release: &Release, holds: &[Hold], due: &[Retry]) -> Result<(), JournalError> {
        self.write("release", self.inner.release(release, holds, due)).await
    }
    async fn releases(&self, limit: u32) -> Result<Vec<Release>, JournalError> {
        self.read(self.inner.releases(limit)).await
    }
    async fn post(&self, notices: &[Notice]) -> Result<(), JournalError> {
        self.write("post", self.inner.post(notices)).await
    }
    async fn notes_due(&self, now: DateTime<Utc>) -> Result<Vec<Note>, JournalError> {
        self.read(self.inner.notes_due(now)).await
    }
    async fn note_done(&self, note: NoteId) -> Result<(), JournalError> {
        self.write("take a notice out", self.inner.note_done(note)).await
    }
    async fn note_later(&self, note: NoteId, attempts: u32, not_before: DateTime<Utc>) -> Result<(), JournalError> {
        self.write("put a notice off", self.inner.note_later(note, attempts, not_before)).await
    }
    // Leases are renewed by the clock and not by what a run does, so they are not counted.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration, now: DateTime<Utc>) -> Result<Option<Lease>, JournalError> {
        // Not counted: how often a lease is asked for depends on how long it is waited for.
        (self.fate.hook)("lease", 0);
        self.asked(self.inner.lease(name, holder, ttl, now)).await
    }
    async fn leased(&self, name: &str) -> Result<Option<Lease>, JournalError> {
        self.asked(self.inner.leased(name)).await
    }
    async fn unlease(&self, lease: &Lease) -> Result<(), JournalError> {
        self.asked(self.inner.unlease(lease)).await
    }
    async fn leases(&self, now: DateTime<Utc>) -> Result<Vec<Standing>, JournalError> {
        self.asked(self.inner.leases(now)).await
    }
    fn fenced(&self, lease: &Lease) -> Arc<dyn Journal> {
        Arc::new(Self { inner: self.inner.fenced(lease), fate: self.fate.clone() })
    }
    async fn standing(&self) -> Result<(), JournalError> {
        self.asked(self.inner.standing()).await
    }
    fn is_shared(&self) -> bool {
        self.fate.shared || self.inner.is_shared()
    }
    async fn head(&self) -> Result<Head, JournalError> {
        self.asked(self.inner.head()).await
    }
    async fn verify(&self, head: Option<&str>) -> Result<Verification, JournalError> {
        self.asked(self.inner.verify(head)).await
    }
    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, JournalError> {
        self.asked(self.inner.prune(before)).await
    }
}
