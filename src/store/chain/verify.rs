//! The check: the chain is walked once, entry by entry, and each is held against the rows that it is about.
//!
//! Everything is read within one transaction, so that a daemon at work does not disturb it, and a page at a time, so that a
//! large journal needs no large memory. What is kept meanwhile is small: the ids of runs, changes without an outcome, and
//! decisions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;

use super::digest::{Digest, Hash, feed, hex};
use super::spoken::Sort;
use super::{LEAF, Said, What, content, leaf, ranges_of, run_of};
use crate::contract::chain::{Beginning, Broken, Head, Verification, Wrong};
use crate::contract::journal::{IntentId, JournalError};
use crate::model::key::RunId;
use crate::store::failure::failed;
use crate::store::seats::Seats;
use crate::store::sql::{Connection, Row, query, query_scalar};

/// Entries that are read at a time.
const PAGE: i64 = 100;
/// How many places are told; the rest is counted.
const TOLD: usize = 50;
/// The fewest digits by which a hash is known.
const DIGITS: usize = 12;

/// Checks the whole chain.
pub(in crate::store) async fn verify(seats: &Seats, asked: Option<&str>) -> Result<Verification, JournalError> {
    const DOING: &str = "check the journal";
    let mut seat = seats.reader(DOING).await?;
    let mut transaction = seat.snapshot().await.map_err(failed(DOING))?;
    transaction.be_patient().await.map_err(failed(DOING))?;
    let checked = Walk::default().whole(&mut transaction, asked).await.map_err(failed(DOING))?;
    transaction.rollback().await.map_err(failed(DOING))?;
    Ok(checked)
}

/// The same within a transaction that was begun.
pub(in crate::store) async fn check(connection: &mut Connection) -> Result<Verification, sqlx::Error> {
    Walk::default().whole(connection, None).await
}

/// An entry as it is read back. What cannot be read as what it should be is as good as missing: its hash tells.
struct Entry {
    id: i64,
    at: i64,
    what: Option<What>,
    run: Option<String>,
    covers: Vec<(i64, i64)>,
    leaves: Vec<u8>,
    content: Vec<u8>,
    said: Said,
    chain: Vec<u8>,
}

impl Entry {
    fn of(row: &Row) -> Result<Self, sqlx::Error> {
        let text = |column| row.try_get::<Option<String>>(column).ok().flatten();
        let bytes = |column| row.try_get::<Option<Vec<u8>>>(column).ok().flatten().unwrap_or_default();
        Ok(Self {
            id: row.try_get("id")?,
            at: row.try_get("at").unwrap_or_default(),
            what: text("what").and_then(|what| serde_json::from_value(what.into()).ok()),
            run: text("run"),
            covers: text("covers").map(|covers| ranges_of(&covers)).unwrap_or_default(),
            leaves: bytes("leaves"),
            content: bytes("content"),
            said: text("said").and_then(|said| serde_json::from_str(&said).ok()).unwrap_or_default(),
            chain: bytes("chain"),
        })
    }
    fn head(&self) -> Head {
        Head { entry: self.id.unsigned_abs(), hash: hex(&self.chain) }
    }
    /// The numbers that it covers, each with the beginning of the hash of its row.
    fn covered(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.covers.iter().flat_map(|(first, last)| *first..=*last).zip(self.leaves.chunks(LEAF))
    }
}

/// Of a decision when it has ended, and which entry wrote it.
type Written = (Option<i64>, i64);

/// By subject, the hash of the row that stands and the entry that wrote it.
type Standing = BTreeMap<String, (String, i64)>;

/// What the walk knows so far.
#[derive(Default)]
struct Walk {
    entries: u64,
    first_at: Option<i64>,
    last: Option<Head>,
    last_at: i64,
    held: Option<Head>,
    broken: Vec<Broken>,
    more: u64,
    /// Runs that a later entry says were deleted.
    pruned: BTreeSet<String>,
    /// Runs that have begun within the chain, or were there before it.
    begun: BTreeSet<String>,
    unchained: Option<Unchained>,
    /// Whether the chain is kept from a later entry than its first on.
    folded: bool,
    /// The last change that was accounted for, once there is one.
    reached: Option<i64>,
    /// Changes that are intended and not settled, with the entry.
    open: BTreeMap<i64, (i64, Option<String>)>,
    /// By subject and hash.
    decisions: BTreeMap<(String, String), Vec<Written>>,
    /// By subject, the hash and the entry.
    holds: Standing,
    /// Likewise.
    releases: Standing,
}

/// What was there before the chain.
struct Unchained {
    at: i64,
    changes: i64,
    runs: BTreeSet<String>,
}

impl Walk {
    async fn whole(mut self, connection: &mut Connection, asked: Option<&str>) -> Result<Verification, sqlx::Error> {
        const SEALS: &str = "select id, at, what, run, covers, leaves, content, said, chain from seals where id > $1
            order by id limit $2";
        let from = self.announced(connection).await?;
        let mut before: Option<(i64, Vec<u8>)> = None;
        let mut beginning = Beginning::Nothing;
        loop {
            let beyond = before.as_ref().map_or(0, |(id, _)| *id);
            let rows = query(SEALS).bind(beyond).bind(PAGE).fetch_all(&mut *connection).await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let entry = Entry::of(row)?;
                let kept_from =
                    from.as_ref().filter(|(id, chain)| before.is_none() && *id == entry.id && *chain == hex(&entry.chain));
                if kept_from.is_some() {
                    beginning = Beginning::Pruned { entry: entry.id.unsigned_abs() };
                    self.folded = true;
                } else {
                    self.link(row, &entry, before.as_ref())?;
                    self.hold(connection, &entry).await?;
                }
                if asked.is_some_and(|asked| is_hash(asked, &entry.chain)) {
                    self.held = Some(entry.head());
                }
                self.last = Some(entry.head());
                before = Some((entry.id, entry.chain));
            }
        }
        self.tail(connection, before.map_or(0, |(id, _)| id)).await?;
        self.rows(connection).await?;
        if let Some(unchained) = &self.unchained
            && beginning == Beginning::Nothing
            && (unchained.changes > 0 || !unchained.runs.is_empty())
        {
            beginning = left_of(connection, unchained).await?;
        }
        let time = |at| DateTime::from_timestamp_millis(at).unwrap_or_default();
        Ok(Verification {
            entries: self.entries,
            span: self.first_at.map(|first| (time(first), time(self.last_at))),
            head: self.last.unwrap_or(Head { entry: 0, hash: String::new() }),
            beginning,
            held: asked.map(|_| self.held),
            broken: self.broken,
            more: self.more,
        })
    }

    /// What later entries say of earlier ones: which runs were deleted, and from where on the chain is kept.
    async fn announced(&mut self, connection: &mut Connection) -> Result<Option<(i64, String)>, sqlx::Error> {
        const ANNOUNCED: &str = "select id, at, what, run, covers, leaves, content, said, chain from seals
            where what in ('pruned', 'folded') order by id";
        let mut from = None;
        for row in query(ANNOUNCED).fetch_all(connection).await? {
            let said = Entry::of(&row)?.said;
            self.pruned.extend(said.runs);
            from = said.from.or(from);
        }
        Ok(from)
    }

    /// Holds an entry against the one before.
    fn link(&mut self, row: &Row, entry: &Entry, before: Option<&(i64, Vec<u8>)>) -> Result<(), sqlx::Error> {
        let last = before.map_or(0, |(id, _)| *id);
        if entry.id != last + 1 {
            self.gap(last + 1, entry.id - 1);
        } else {
            let mut digest = Digest::link(before.map_or(&[], |(_, chain)| chain));
            // The last column is the hash itself.
            feed(&mut digest, row, row.len() - 1)?;
            if digest.finish()[..] != entry.chain[..] {
                self.wrong(
                    entry,
                    Wrong::Changed,
                    "the entry does not follow from the one before: it, or its hash, was written anew",
                );
            }
        }
        if entry.what != Some(What::Opened) {
            self.entries += 1;
            self.first_at.get_or_insert(entry.at);
            self.last_at = entry.at;
        }
        Ok(())
    }

    fn gap(&mut self, first: i64, last: i64) {
        let what = if first == last { "the entry".to_owned() } else { format!("the entries {first} to {last}") };
        let (at, run, change) = (None, None, None);
        let what = format!("{what} of the chain: deleted");
        self.tell(Broken { entry: Some(first.unsigned_abs()), at, run, change, wrong: Wrong::Missing, what });
    }

    /// Holds an entry against what it is about.
    async fn hold(&mut self, connection: &mut Connection, entry: &Entry) -> Result<(), sqlx::Error> {
        match entry.what {
            Some(What::Opened) => self.opened(entry),
            Some(What::Begun) => self.run_begun(connection, entry).await?,
            Some(What::Ended) => self.run_ended(connection, entry).await?,
            Some(What::Intended) => self.intended(connection, entry).await?,
            Some(What::Settled) => self.settled(connection, entry).await?,
            Some(What::Decided | What::Tidied) => self.decided(entry),
            Some(What::Held) => written(&mut self.holds, entry),
            Some(What::Released) => written(&mut self.releases, entry),
            Some(What::Pruned | What::Folded) => {}
            None => self.wrong(entry, Wrong::Changed, "the entry is of no known sort"),
        }
        Ok(())
    }

    fn opened(&mut self, entry: &Entry) {
        let Said { written, holds, runs, changes, .. } = &entry.said;
        self.reached = *changes;
        let runs: BTreeSet<String> = runs.iter().cloned().collect();
        self.begun.extend(runs.iter().cloned());
        self.unchained = Some(Unchained { at: entry.at, changes: changes.unwrap_or(0), runs });
        for decision in written {
            self.decisions.entry(decision.clone()).or_default().push((None, entry.id));
        }
        self.holds.extend(holds.iter().map(|(subject, hash)| (subject.clone(), (hash.clone(), entry.id))));
    }

    fn is_pruned(&self, entry: &Entry) -> bool {
        // A run whose beginning is no longer in the chain has gone with it.
        entry.run.as_ref().is_none_or(|run| self.pruned.contains(run) || (self.folded && !self.begun.contains(run)))
    }

    async fn run_begun(&mut self, connection: &mut Connection, entry: &Entry) -> Result<(), sqlx::Error> {
        const RUN: &str = concat!("select ", super::begun_columns!(), " from runs where id = $1");
        self.begun.extend(entry.run.clone());
        if self.is_pruned(entry) {
            return Ok(());
        }
        match query(RUN).bind(&entry.run).fetch_optional(connection).await? {
            None => self.wrong(entry, Wrong::Missing, "the run: deleted"),
            Some(row) if !self.is_as_written(entry, What::Begun, &row)? => {
                self.wrong(entry, Wrong::Changed, "the beginning of the run: job, target, trigger or time");
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn run_ended(&mut self, connection: &mut Connection, entry: &Entry) -> Result<(), sqlx::Error> {
        const RUN: &str = concat!("select ", super::ended_columns!(), " from runs where id = $1");
        const LATER: &str = "select exists (select 1 from seals where what = 'ended' and run = $1 and id > $2)";
        if self.is_pruned(entry) {
            return Ok(());
        }
        // A missing run was told with its beginning.
        let Some(row) = query(RUN).bind(&entry.run).fetch_optional(&mut *connection).await? else { return Ok(()) };
        if self.is_as_written(entry, What::Ended, &row)? {
            return Ok(());
        }
        // A run that outlived its recovery tells its own end over the one that was written for it.
        if !query_scalar(LATER).bind(&entry.run).bind(entry.id).fetch_one(connection).await? {
            self.wrong(entry, Wrong::Changed, "the end of the run: outcome, time, plan, counts or messages");
        }
        Ok(())
    }

    fn is_as_written(&self, entry: &Entry, what: What, row: &Row) -> Result<bool, sqlx::Error> {
        Ok(content(&[leaf(what, row)?])[..] == entry.content[..])
    }

    async fn intended(&mut self, connection: &mut Connection, entry: &Entry) -> Result<(), sqlx::Error> {
        const BETWEEN: &str =
            "select id, run, kind, user_name, group_name from changes where id > $1 and id < $2 order by id limit 20";
        const INTENTS: &str =
            concat!("select ", super::intent_columns!(), " from changes where id between $1 and $2 order by id");
        let (Some((first, _)), Some((_, last))) = (entry.covers.first(), entry.covers.last()) else { return Ok(()) };
        let strays = query(BETWEEN).bind(self.reached.unwrap_or(i64::MIN)).bind(first).fetch_all(&mut *connection).await?;
        strays.iter().for_each(|row| self.stray(row));
        self.reached = self.reached.max(Some(*last));
        if self.is_pruned(entry) {
            // Whatever stands there with a number of that time is not what was written.
            let strays = query(BETWEEN).bind(first - 1).bind(last + 1).fetch_all(&mut *connection).await?;
            strays.iter().for_each(|row| self.stray(row));
            return Ok(());
        }
        self.rows_of(connection, entry, What::Intended, INTENTS).await?;
        for (id, _) in entry.covered() {
            self.open.insert(id, (entry.id, entry.run.clone()));
        }
        Ok(())
    }

    async fn settled(&mut self, connection: &mut Connection, entry: &Entry) -> Result<(), sqlx::Error> {
        const OUTCOMES: &str =
            concat!("select ", super::outcome_columns!(), " from changes where id between $1 and $2 order by id");
        if self.is_pruned(entry) {
            return Ok(());
        }
        self.rows_of(connection, entry, What::Settled, OUTCOMES).await?;
        entry.covered().for_each(|(id, _)| drop(self.open.remove(&id)));
        Ok(())
    }

    /// Holds changes against their entry, and names each that differs.
    async fn rows_of(
        &mut self,
        connection: &mut Connection,
        entry: &Entry,
        what: What,
        select: &'static str,
    ) -> Result<(), sqlx::Error> {
        let part = if what == What::Intended { "what was intended" } else { "what came of it" };
        let mut rows: BTreeMap<i64, Hash> = BTreeMap::new();
        for (first, last) in &entry.covers {
            for row in query(select).bind(first).bind(last).fetch_all(&mut *connection).await? {
                rows.insert(row.try_get("id")?, leaf(what, &row)?);
            }
        }
        let hashes: Vec<Hash> = rows.values().copied().collect();
        if content(&hashes)[..] == entry.content[..] {
            return Ok(());
        }
        let mut found = false;
        for (id, beginning) in entry.covered() {
            let wrong = match rows.get(&id) {
                None if what == What::Settled => continue,
                None => (Wrong::Missing, format!("change {id}: deleted")),
                Some(hash) if hash[..LEAF] != *beginning => {
                    (Wrong::Changed, format!("change {id}{}: {part} is not as it was written", self.named(connection, id).await?))
                }
                Some(_) => continue,
            };
            found = true;
            self.wrong_change(entry, id, wrong.0, wrong.1);
        }
        if !found && rows.len() == entry.covered().count() {
            self.wrong(entry, Wrong::Changed, &format!("the changes of the entry: {part} is not as it was written"));
        }
        Ok(())
    }

    /// What a change is about, for a person.
    async fn named(&self, connection: &mut Connection, id: i64) -> Result<String, sqlx::Error> {
        let row = query("select kind, user_name, group_name from changes where id = $1").bind(id).fetch_one(connection).await?;
        Ok(about(&row))
    }

    /// A change that no entry tells of.
    fn stray(&mut self, row: &Row) {
        let id = row.try_get("id").unwrap_or_default();
        let run = row.try_get::<String>("run").ok();
        let what = format!("change {id}{}: no entry tells of it", about(row));
        let (entry, at, run, change) = (None, None, run_of(run.as_deref()), Some(IntentId(id)));
        self.tell(Broken { entry, at, run, change, wrong: Wrong::Inserted, what });
    }

    fn decided(&mut self, entry: &Entry) {
        let Said { written, ended, gone, .. } = &entry.said;
        // A write ends what stood on the same change before it writes its own.
        for (subject, hash, at) in ended {
            let known = self.decisions.get_mut(&(subject.clone(), hash.clone()));
            if let Some((ended, _)) = known.and_then(|all| all.iter_mut().find(|(ended, _)| ended.is_none())) {
                *ended = Some(*at);
            }
        }
        for decision in gone {
            if let Some(all) = self.decisions.get_mut(decision) {
                // Of two that are alike the one that has ended goes first.
                all.sort_unstable_by_key(|(ended, _)| ended.is_none());
                all.drain(..1.min(all.len()));
            }
        }
        for decision in written {
            self.decisions.entry(decision.clone()).or_default().push((None, entry.id));
        }
    }

    /// What the end of the chain must be.
    async fn tail(&mut self, connection: &mut Connection, last: i64) -> Result<(), sqlx::Error> {
        let given: Option<i64> =
            query_scalar("select seq from sqlite_sequence where name = 'seals'").fetch_optional(connection).await?;
        let given = given.unwrap_or(0);
        if given > last {
            self.gap(last + 1, given);
        }
        Ok(())
    }

    /// What is there and no entry tells of; what has an outcome that no entry tells of.
    async fn rows(&mut self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        const STRAYS: &str = "select id, run, kind, user_name, group_name from changes where id > $1 order by id limit 100";
        const SETTLED: &str = "select outcome is not null or created is not null or request is not null as settled, kind,
            user_name, group_name from changes where id = $1";
        const ENDED: &str =
            "select id from runs where ended is not null and id not in (select run from seals where what = 'ended'
            and run is not null) order by id";
        for row in query(STRAYS).bind(self.reached.unwrap_or(i64::MIN)).fetch_all(&mut *connection).await? {
            self.stray(&row);
        }
        for (id, (entry, run)) in std::mem::take(&mut self.open) {
            let Some(row) = query(SETTLED).bind(id).fetch_optional(&mut *connection).await? else { continue };
            if row.try_get("settled")? {
                let what = format!("change {id}{}: no entry tells of its outcome", about(&row));
                let (entry, run) = (Some(entry.unsigned_abs()), run_of(run.as_deref()));
                self.tell(Broken { entry, at: None, run, change: Some(IntentId(id)), wrong: Wrong::Inserted, what });
            }
        }
        let runs: Vec<String> = query_scalar("select id from runs order by id").fetch_all(&mut *connection).await?;
        for run in &runs {
            if self.pruned.contains(run) || !self.begun.contains(run) {
                self.wrong_run(run, "the run: no entry tells of it");
            }
        }
        let ended: Vec<String> = query_scalar(ENDED).fetch_all(&mut *connection).await?;
        let unchained = self.unchained.as_ref().map(|u| u.runs.clone()).unwrap_or_default();
        for run in &ended {
            if self.begun.contains(run) && !unchained.contains(run) {
                self.wrong_run(run, "the end of the run: no entry tells of it");
            }
        }
        self.decisions_stand(connection).await?;
        self.holds_stand(connection).await?;
        self.releases_stand(connection).await
    }

    async fn decisions_stand(&mut self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        const DECISIONS: &str = concat!("select ", super::decision_columns!(), ", ended from decisions order by at, mark");
        let rows = query(DECISIONS).fetch_all(connection).await?;
        let mut unknown = Vec::new();
        for row in &rows {
            let ended: Option<i64> = row.try_get("ended")?;
            let named = Sort::Decision.named(row)?;
            let known = self.decisions.get_mut(&named);
            let place = known.as_ref().and_then(|all| all.iter().position(|(told, _)| *told == ended));
            match (known, place) {
                (Some(all), Some(place)) => drop(all.remove(place)),
                (Some(_) | None, _) => unknown.push((row, named.0, ended)),
            }
        }
        let mut left: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for ((subject, _), all) in std::mem::take(&mut self.decisions) {
            left.entry(subject).or_default().extend(all.iter().map(|(_, entry)| *entry));
        }
        for (row, subject, ended) in unknown {
            let at: i64 = row.try_get("at").unwrap_or_default();
            // Of what had ended before the chain began nothing is known, and nobody acts on it.
            if ended.is_some() && self.unchained.as_ref().is_some_and(|unchained| at <= unchained.at) {
                continue;
            }
            let entry = left.get_mut(&subject).and_then(Vec::pop);
            let text = |column| row.try_get::<String>(column).unwrap_or_default();
            let what = format!("a decision of {}{} ({})", text("actor"), about(row), text("verdict"));
            self.spoken(entry, what);
        }
        for entry in left.into_values().flatten() {
            self.gone(entry, "a decision: deleted");
        }
        Ok(())
    }

    async fn holds_stand(&mut self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        const HOLDS: &str = concat!("select ", super::hold_columns!(), " from holds order by since, user_key");
        for row in query(HOLDS).fetch_all(connection).await? {
            let (subject, hash) = Sort::Hold.named(&row)?;
            match self.holds.remove(&subject) {
                Some((told, _)) if told == hash => {}
                told => {
                    let text = |column| row.try_get::<String>(column).unwrap_or_default();
                    self.spoken(told.map(|(_, entry)| entry), format!("a hold of {} on {}", text("actor"), text("user_name")));
                }
            }
        }
        for (_, entry) in std::mem::take(&mut self.holds).into_values() {
            self.gone(entry, "a hold: deleted");
        }
        Ok(())
    }

    async fn releases_stand(&mut self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        const RELEASES: &str = concat!("select ", super::release_columns!(), " from releases order by id");
        for row in query(RELEASES).fetch_all(connection).await? {
            let (subject, hash) = Sort::Release.named(&row)?;
            match self.releases.remove(&subject) {
                Some((told, _)) if told == hash => {}
                told => {
                    let text = |column| row.try_get::<String>(column).unwrap_or_default();
                    let what = format!("a release of {:?} by {}", text("what"), text("actor"));
                    self.spoken(told.map(|(_, entry)| entry), what);
                }
            }
        }
        for (_, entry) in std::mem::take(&mut self.releases).into_values() {
            self.gone(entry, "a release: deleted");
        }
        Ok(())
    }

    /// A decision, hold or release that is not as an entry wrote it, or that none wrote.
    fn spoken(&mut self, entry: Option<i64>, what: String) {
        let (wrong, what) = match entry {
            Some(_) => (Wrong::Changed, format!("{what}: not as it was written")),
            None => (Wrong::Inserted, format!("{what}: no entry tells of it")),
        };
        self.tell(Broken { entry: entry.map(i64::unsigned_abs), at: None, run: None, change: None, wrong, what });
    }

    fn gone(&mut self, entry: i64, what: &str) {
        let (entry, what) = (Some(entry.unsigned_abs()), what.to_owned());
        self.tell(Broken { entry, at: None, run: None, change: None, wrong: Wrong::Missing, what });
    }

    fn wrong_run(&mut self, run: &str, what: &str) {
        let (run, what) = (Some(RunId::from(run)), what.to_owned());
        self.tell(Broken { entry: None, at: None, run, change: None, wrong: Wrong::Inserted, what });
    }

    fn wrong(&mut self, entry: &Entry, wrong: Wrong, what: &str) {
        self.tell(broken(entry, None, wrong, what.to_owned()));
    }

    fn wrong_change(&mut self, entry: &Entry, id: i64, wrong: Wrong, what: String) {
        self.tell(broken(entry, Some(IntentId(id)), wrong, what));
    }

    fn tell(&mut self, broken: Broken) {
        if self.broken.len() < TOLD {
            self.broken.push(broken);
        } else {
            self.more += 1;
        }
    }
}

/// Plays a write through to what must stand after it.
fn written(standing: &mut Standing, entry: &Entry) {
    for (subject, _) in &entry.said.gone {
        standing.remove(subject);
    }
    for (subject, hash) in &entry.said.written {
        standing.insert(subject.clone(), (hash.clone(), entry.id));
    }
}

fn broken(entry: &Entry, change: Option<IntentId>, wrong: Wrong, what: String) -> Broken {
    let (at, run) = (DateTime::from_timestamp_millis(entry.at), run_of(entry.run.as_deref()));
    Broken { entry: Some(entry.id.unsigned_abs()), at, run, change, wrong, what }
}

/// Whether somebody means this hash: all of it, or enough of its beginning.
fn is_hash(asked: &str, chain: &[u8]) -> bool {
    asked.len() >= DIGITS && hex(chain).starts_with(&asked.to_ascii_lowercase())
}

/// Kind, user and group of a row, for a person.
fn about(row: &Row) -> String {
    let text = |column: &str| row.try_get::<Option<String>>(column).ok().flatten();
    let group = text("group_name").map(|group| format!(" {group:?}")).unwrap_or_default();
    let user = text("user_name").map(|user| format!(" {user}")).unwrap_or_default();
    format!(" ({}{user}{group})", text("kind").unwrap_or_default())
}

/// How much is still there of what was there before the chain.
async fn left_of(connection: &mut Connection, unchained: &Unchained) -> Result<Beginning, sqlx::Error> {
    let changes: i64 =
        query_scalar("select count(*) from changes where id <= $1").bind(unchained.changes).fetch_one(&mut *connection).await?;
    let runs: Vec<String> = query_scalar("select id from runs").fetch_all(connection).await?;
    let runs = runs.iter().filter(|run| unchained.runs.contains(*run)).count() as u64;
    Ok(Beginning::Unchained { changes: changes.unsigned_abs(), runs })
}
