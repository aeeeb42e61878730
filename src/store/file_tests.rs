//! What only a file can go wrong with: damage, strangers, versions, rights, several handles, a process that dies.

use std::fs;
use std::future::poll_fn;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, Executor};

use super::sql::query;
use super::suite::*;
use super::{Access, OpenError, OpenOptions, SqlJournal, open_for};
use crate::contract::journal::*;
use crate::model::change::OpKind;
use crate::model::ledger::Ledger;

const CREATE: OpenOptions = OpenOptions { create: true, read_only: false };
const READ: OpenOptions = OpenOptions { create: false, read_only: true };

struct Place {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("state.db");
        Self { folder, file }
    }
    async fn open(&self) -> SqlJournal {
        SqlJournal::open(&self.file, CREATE).await.expect("open")
    }
    /// A closed file with a link, a run and some owned memberships.
    async fn filled() -> Self {
        let place = Self::new();
        let journal = place.open().await;
        journal.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
        journal.record(&jira(), &[Effect::LinkUser(Box::new(link("00u1", "ann")))]).await.expect("record");
        let owned: Vec<Effect> = (0..2000).map(|n| own(&format!("g{}", n % 50), &format!("u{n}"))).collect();
        journal.record(&jira(), &owned).await.expect("record");
        journal.close().await.expect("close");
        place
    }
    async fn refused(&self) -> OpenError {
        let before = fs::read(&self.file).expect("read");
        let error = SqlJournal::open(&self.file, CREATE).await.err().expect("refused");
        let reading = SqlJournal::open(&self.file, READ).await.err().expect("refused");
        assert_eq!(error.to_string(), reading.to_string());
        assert_eq!(fs::read(&self.file).expect("read"), before, "a refused file is not touched");
        assert!(error.hint().is_some());
        error
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .expect("list")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
    async fn raw(&self) -> sqlx::sqlite::SqliteConnection {
        sqlx::sqlite::SqliteConnectOptions::new().filename(&self.file).create_if_missing(true).connect().await.expect("connect")
    }
}

#[tokio::test]
async fn a_new_file_is_readable_by_its_owner_alone() {
    let place = Place::new();
    let journal = place.open().await;
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    assert_eq!(place.names(), ["state.db", "state.db-shm", "state.db-wal"]);
    for name in place.names() {
        let mode = fs::metadata(place.folder.path().join(&name)).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_new_file_belongs_to_whoever_its_folder_belongs_to() {
    use std::os::unix::fs::{MetadataExt, chown};
    let place = Place::new();
    // Root alone can give things away, and alone could lock somebody out.
    let _ = chown(place.folder.path(), Some(4711), Some(4712));
    let owner = |path: &std::path::Path| fs::metadata(path).map(|m| (m.uid(), m.gid())).expect("metadata");
    let folder = owner(place.folder.path());
    let journal = place.open().await;
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    for name in place.names() {
        assert_eq!(owner(&place.folder.path().join(&name)), folder, "{name}");
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_journal_and_keeps_what_it_is_told() {
    let place = Place::new();
    fs::write(&place.file, b"").expect("write");
    let journal = place.open().await;
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    journal.close().await.expect("close");
    assert_eq!(place.names(), ["state.db"], "a closed file is whole by itself");
    let journal = place.open().await;
    assert!(journal.run("r1").await.expect("run").is_some());
}

#[tokio::test]
async fn a_missing_folder_is_named_and_not_made() {
    let place = Place::new();
    let path = place.folder.path().join("not-mounted/state.db");
    let error = SqlJournal::open(&path, CREATE).await.err().expect("no folder");
    assert!(matches!(&error, OpenError::NoFolder(folder) if folder.ends_with("not-mounted")), "{error}");
    assert!(place.names().is_empty());
    let keep = OpenOptions { create: false, read_only: false };
    let error = SqlJournal::open(&place.file, keep).await.err().expect("no file");
    assert!(matches!(error, OpenError::Missing(_)), "{error}");
}

#[tokio::test]
async fn other_stores_are_refused_without_telling_their_passwords() {
    let refusal = |url| async move { open_for(url, Access::Write).await.err().expect("refused").to_string() };
    assert_eq!(refusal("mysql://rosterd:secret@db/rosterd").await, "there is no state store of the kind \"mysql:…\"");
    for url in ["postgres://rosterd:secret@db/rosterd", "postgres://db/rosterd?password=secret", "postgres://u:secret@:x/"] {
        let told = refusal(url).await;
        assert!(told.starts_with("the address of the state store cannot be used") && !told.contains("secret"), "{told}");
    }
    assert!(refusal("sqlite:").await.contains("names no file"));
    assert!(refusal("sqlite:/x/state.db?mode=ro").await.contains("parameters"));
    assert!(matches!(open_for("/var/lib/state.db", Access::Write).await, Err(OpenError::Unsupported { .. })));
}

#[tokio::test]
async fn a_file_that_is_not_sqlite_is_refused() {
    let place = Place::new();
    fs::write(&place.file, "[daemon]\nstate = \"sqlite:state.db\"\n").expect("write");
    assert!(place.refused().await.to_string().contains("not an SQLite file"));
    let error = SqlJournal::open(place.folder.path(), CREATE).await.err().expect("a folder");
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn an_sqlite_file_of_another_program_is_refused() {
    let place = Place::new();
    let mut other = place.raw().await;
    other.execute("create table songs (title text)").await.expect("create");
    other.close().await.expect("close");
    assert!(place.refused().await.to_string().contains("another program"));
}

#[tokio::test]
async fn a_newer_schema_is_refused_naming_both_versions() {
    let place = Place::filled().await;
    let mut raw = place.raw().await;
    let (known, later) = (super::SCHEMA, super::SCHEMA + 1);
    sqlx::query("insert into _sqlx_migrations values ($1, 'later', current_timestamp, 1, x'00', 0)")
        .bind(later)
        .execute(&mut raw)
        .await
        .expect("insert");
    raw.close().await.expect("close");
    let text = place.refused().await.to_string();
    assert!(text.contains(&format!("schema version {later}")) && text.contains(&format!("up to {known}")), "{text}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_what_to_do() {
    let place = Place::filled().await;
    let whole = fs::read(&place.file).expect("read");
    let mut spoilt = whole.clone();
    spoilt[4096 * 3..4096 * 6].fill(0xAB);
    fs::write(&place.file, &spoilt).expect("write");
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.hint().expect("hint").contains("restore it"));

    fs::write(&place.file, &whole[..whole.len() / 2]).expect("write");
    assert!(matches!(place.refused().await, OpenError::Damaged { .. }));
    fs::write(&place.file, &whole[..50]).expect("write");
    assert!(matches!(place.refused().await, OpenError::Foreign { .. }));
    fs::write(&place.file, &whole).expect("write");
    place.open().await;
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let place = Place::filled().await;
    let before = (fs::read(&place.file).expect("read"), fs::metadata(&place.file).expect("metadata").modified().ok());
    let journal = SqlJournal::open(&place.file, READ).await.expect("open");
    assert_eq!(journal.links(&jira()).await.expect("links").users.len(), 1);
    assert_eq!(journal.ledger(&jira()).await.expect("ledger").len(), 2000);
    assert_eq!(place.names(), ["state.db"]);
    let error = journal.begin(&run_at("r2", &jira(), at(0))).await.expect_err("read only");
    assert!(error.to_string().contains("dry run") && !error.passing, "{error}");
    assert!(journal.lease("x", "y", Duration::from_secs(1), at(0)).await.is_err());
    journal.close().await.expect("close");
    let after = (fs::read(&place.file).expect("read"), fs::metadata(&place.file).expect("metadata").modified().ok());
    assert!(before == after, "the file has changed");
    assert_eq!(place.names(), ["state.db"]);
}

#[tokio::test]
async fn a_dry_run_before_any_run_sees_an_empty_journal() {
    let place = Place::new();
    let url = format!("sqlite://{}", place.file.display());
    let journal = open_for(&url, Access::Read).await.expect("open");
    assert!(journal.links(&jira()).await.expect("links").users.is_empty());
    assert!(journal.record(&jira(), &[own("eng", "ann")]).await.is_err());
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn a_dry_run_beside_a_working_daemon_sees_the_newest_state() {
    let place = Place::filled().await;
    let early = SqlJournal::open(&place.file, READ).await.expect("open");
    assert_eq!(early.links(&jira()).await.expect("links").users.len(), 1);

    let daemon = place.open().await;
    daemon.record(&jira(), &[Effect::LinkUser(Box::new(link("00u2", "bob")))]).await.expect("record");
    let before = fs::read(&place.file).expect("read");
    let late = SqlJournal::open(&place.file, READ).await.expect("open");
    assert_eq!(late.links(&jira()).await.expect("links").users.len(), 2, "opened while the daemon works");
    assert_eq!(early.links(&jira()).await.expect("links").users.len(), 2, "opened before the daemon began");
    late.close().await.expect("close");
    early.close().await.expect("close");
    assert!(fs::read(&place.file).expect("read") == before, "the file has changed");
    daemon.record(&jira(), &[Effect::LinkUser(Box::new(link("00u3", "cid")))]).await.expect("record");
}

#[tokio::test]
async fn two_handles_on_one_file_share_leases_and_wait_for_each_other() {
    let place = Place::new();
    let (a, b) = tokio::join!(SqlJournal::open(&place.file, CREATE), SqlJournal::open(&place.file, CREATE));
    let (a, b) = (Arc::new(a.expect("open")), Arc::new(b.expect("open")));
    let ttl = Duration::from_secs(15);
    assert!(a.lease("jira", "a", ttl, at(0)).await.expect("lease").is_some());
    assert!(b.lease("jira", "b", ttl, at(1)).await.expect("lease").is_none());

    let mut writers = tokio::task::JoinSet::new();
    for n in 0..40 {
        let journal = if n % 2 == 0 { a.clone() } else { b.clone() };
        writers.spawn(async move { journal.record(&jira(), &[own("eng", &format!("u{n}"))]).await });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("joined").expect("recorded");
    }
    assert_eq!(a.ledger(&jira()).await.expect("ledger").len(), 40);
    assert_eq!(b.ledger(&jira()).await.expect("ledger").len(), 40);
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_a_passing_error() {
    let place = Place::filled().await;
    let mut other = place.raw().await;
    let held = other.begin_with("begin immediate").await.expect("begin");
    let journal = place.open().await;
    // The patience of five seconds is SQLite's own; a shorter one will do to see what comes after it.
    query("pragma busy_timeout = 20").execute(&mut journal.seats.watch("").await.expect("writer")).await.expect("pragma");
    let error = journal.record(&jira(), &[own("eng", "ann")]).await.expect_err("locked");
    assert!(error.passing && error.to_string().contains("another process"), "{error}");
    assert_eq!(journal.links(&jira()).await.expect("readers go on").users.len(), 1);
    held.rollback().await.expect("rollback");
    journal.record(&jira(), &[own("eng", "ann")]).await.expect("free again");
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_of_the_call_is_written() {
    let place = Place::filled().await;
    let journal = place.open().await;
    query("pragma max_page_count = 1").execute(&mut journal.seats.watch("").await.expect("writer")).await.expect("pragma");
    let many: Vec<Effect> = (0..20_000).map(|n| own("new", &format!("someone-{n}"))).collect();
    let error = journal.record(&jira(), &many).await.expect_err("full");
    assert!(!error.passing && error.to_string().contains("full"), "{error}");
    assert_eq!(journal.ledger(&jira()).await.expect("ledger").len(), 2000);
}

#[tokio::test]
async fn a_process_that_dies_between_intent_and_outcome_leaves_it_open() {
    let place = Place::new();
    let journal = place.open().await;
    let run = run_at("r1", &jira(), at(0));
    journal.begin(&run).await.expect("begin");
    let intents = [intent(OpKind::CreateUser, "ann", None), intent(OpKind::AddMember, "ann", Some("eng"))];
    let ids = journal.intend(&run.id, &jira(), &intents, at(1)).await.expect("intend");
    let made = settlement(ids[0], Outcome::Done, vec![Effect::LinkUser(Box::new(link("00u1", "ann")))]);
    journal.settle(&jira(), &[made], at(2)).await.expect("settle");
    let copy = Place::new();
    copy_as_a_crash_leaves_it(&place.file, &copy.file);
    drop(journal);

    let journal = copy.open().await;
    let lost = journal.recover(&jira(), at(9)).await.expect("recover");
    assert_eq!(lost.iter().map(|c| c.id).collect::<Vec<_>>(), ids[1..]);
    assert_eq!(journal.links(&jira()).await.expect("links").users.len(), 1);
    let end = journal.run("r1").await.expect("run").expect("there").end.expect("ended");
    assert_eq!(end.ended, Ended::Interrupted);
}

/// What is on disk at this moment: the file and the log, without a close.
fn copy_as_a_crash_leaves_it(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(name(from), name(to)).expect("copy");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_nothing_and_blocks_nobody() {
    let place = Place::new();
    let journal = place.open().await;
    for n in 0..20 {
        let many: Vec<Effect> = (0..500).map(|m| own(&format!("g{n}"), &format!("u{m}"))).collect();
        let target = jira();
        let mut call = Box::pin(journal.record(&target, &many));
        for _ in 0..n {
            if poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        let whole = journal.ledger(&jira()).await.expect("ledger").len();
        assert_eq!(whole % 500, 0, "a call took place in part");
        journal.record(&jira(), &[strike_nothing(n)]).await.expect("the next call goes through");
    }
}

fn strike_nothing(n: usize) -> Effect {
    Effect::Disown { group: format!("nobody-{n}").as_str().into(), user: "nobody".into() }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_clock_does_not_stop_the_journal() {
    let journal = open_for("sqlite::memory:", Access::Write).await.expect("open");
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..50 {
        let journal = journal.clone();
        writers.spawn(async move { journal.record(&jira(), &[own("eng", &format!("u{n}"))]).await });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("joined").expect("recorded");
    }
    assert_eq!(journal.ledger(&jira()).await.expect("ledger").len(), 50);
}

#[tokio::test]
async fn journals_in_memory_are_cheap_and_apart() {
    let mut journals = Vec::new();
    // The quickest of many: what it costs, and not what else the machine has to do.
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        journals.push(open_for("sqlite::memory:", Access::Write).await.expect("open"));
        quickest = quickest.min(began.elapsed());
    }
    println!("opening a journal in memory: {quickest:?}");
    journals[0].record(&jira(), &[own("eng", "ann")]).await.expect("record");
    assert!(journals[1].ledger(&jira()).await.expect("ledger").is_empty());
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[tokio::test]
async fn hundreds_of_thousands_of_memberships_are_no_burden() {
    let place = Place::new();
    let journal = place.open().await;
    let owned: Vec<Effect> =
        (0..200_000).map(|n| own(&format!("group-{:04}", n % 1000), &format!("jirauser{:06}", n % 20_011))).collect();
    let began = Instant::now();
    journal.record(&jira(), &owned).await.expect("record");
    let wrote = began.elapsed();
    let began = Instant::now();
    let ledger = journal.ledger(&jira()).await.expect("ledger");
    let read = began.elapsed();
    println!("200,000 memberships: written in {wrote:?}, read in {read:?}");
    assert_eq!(ledger.len(), 200_000);
    let pairs = owned.into_iter().filter_map(|effect| match effect {
        Effect::Own { group, user } => Some((group, user)),
        _ => None,
    });
    assert!(ledger == Ledger::of(pairs), "the ledger differs");
    assert!(wrote < Duration::from_secs(20) && read < Duration::from_secs(8), "{wrote:?}, {read:?}");

    let began = Instant::now();
    for n in 0..200 {
        let ttl = Duration::from_secs(1);
        journal.lease("jira", "me", ttl, at(n)).await.expect("lease");
    }
    println!("one commit: {:?}", began.elapsed() / 200);
}

#[tokio::test]
async fn what_was_decided_before_decisions_knew_their_causes_lets_nothing_through_and_a_no_stays_a_no() {
    let place = Place::new();
    let mut old = super::open::make_old(&place.file, 3).await;
    let past = "
        insert into user_links (target, source, user_key, name) values ('jira', '00u1', '10001', 'Ann');
        insert into staged (job, target, plan, kind, user_key, group_key, user_name, because, held_by, since, stamp, mark)
            values ('staff', 'jira', 'p', 'deactivate_user', '10002', '', 'bob', '{\"reason\":\"disabled\"}', '[]', 5, 5, 'm2');
        insert into plans values ('p', 'staff', 'jira', 1, 999999, 'r1', '[{\"staged\":true}]');
        insert into decisions (job, target, mark, plan, verdict, kind, user_name, actor, reason, at) values
            ('staff', 'jira', 'm1', 'p', 'rejected', 'deactivate_user', 'ann', 'os:ops', 'she stays', 10),
            ('staff', 'jira', 'm2', 'p', 'approved', 'deactivate_user', 'bob', 'os:ops', 'left', 20),
            ('staff', 'jira', 'm3', 'p', 'rejected', 'remove_member', 'stranger', 'os:ops', 'he helps', 30);
        insert into runs (id, job, target, fired_by, began_at) values ('r1', 'staff', 'jira', 'undo', 1);
        insert into changes (run, target, kind, user_key, user_name, group_name, because, at)
            values ('r1', 'jira', 'add_member', '10001', 'Ann', 'eng', '{\"reason\":\"undone\"}', 2)";
    old.execute(past).await.expect("insert");
    Connection::close(old).await.expect("close");

    let journal = place.open().await;
    let standing = journal.decisions().await.expect("decisions");
    let standing: Vec<_> = standing.iter().map(|d| (&*d.mark, &*d.reason)).collect();
    assert_eq!(standing, [("m3", "he helps")], "an approval is asked for again");
    assert!(journal.saved_plans("p").await.expect("plans").is_empty());
    let holds = journal.holds().await.expect("holds");
    let held: Vec<_> = holds.iter().map(|h| (h.user.as_str(), h.source.as_ref().map(|s| s.as_str()), &*h.reason)).collect();
    assert_eq!(held, [("10001", Some("00u1"), "she stays")]);
    let waits = journal.staged().await.expect("staged");
    assert_eq!((waits.len(), &*waits[0].mark), (1, ""), "it waits on, and cannot be decided on before the next run");
    assert_eq!(journal.changes(&"r1".into()).await.expect("changes").len(), 1, "an undo from before can be read");
}

#[tokio::test]
async fn what_waits_is_counted_from_narrow_indexes_without_sorting() {
    use sqlx::Row;
    let place = Place::filled().await;
    let mut raw = place.raw().await;
    for statement in [super::waits::STAGED, super::waits::RETRIES, super::waits::HELD] {
        let explain = format!("explain query plan {statement}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(explain)).fetch_all(&mut raw).await.expect("explained");
        let steps: Vec<String> = rows.iter().map(|row| row.try_get("detail").expect("a detail")).collect();
        assert!(steps.len() == 1 && steps[0].contains("USING COVERING INDEX") && steps[0].contains("_counted"), "{steps:?}");
    }
}

/// The clock is set, or the renewal waited behind a long write. Nobody else is hurt by that unless they have taken the lease.
#[tokio::test]
async fn a_renewal_may_come_late_where_nobody_has_taken_the_lease() {
    let place = Place::filled().await;
    let journal = place.open().await;
    let take = async |holder: &'static str, second| {
        journal.lease("target/jira", holder, Duration::from_secs(15), at(second)).await.expect("lease")
    };
    let first = take("a", 0).await;
    assert!(first.is_some());
    assert_eq!(take("a", 200).await, first, "it is the same, of the same generation");
    assert!(take("b", 300).await.is_some_and(|lease| lease.generation == 2));
    assert_eq!(take("a", 301).await, None, "somebody has taken it");
}

#[tokio::test]
async fn a_run_that_slept_while_its_store_was_copied_does_nothing_more() {
    let place = Place::filled().await;
    let journal = place.open().await;
    let lease = journal.lease("target/jira", "a", Duration::from_secs(15), at(0)).await.expect("lease").expect("free");
    let mine = journal.fenced(&lease);
    let (from, to) = (&place.file, place.folder.path().join("copy.db"));
    let (from, to) = (format!("sqlite:{}", from.display()), format!("sqlite:{}", to.display()));
    let busy = super::copy((&from).into(), (&to).into(), |_| false, at(14)).await.expect_err("it is at work").to_string();
    assert!(busy.contains("is at work (target/jira)"), "{busy}");
    let copied = super::copy((&from).into(), (&to).into(), |_| false, at(16)).await.expect("it is not heard of any more");
    assert!(copied.checked.holds());
    mine.standing().await.expect_err("it begins no further call");
    let error = mine.begin(&run_at("r2", &jira(), at(17))).await.expect_err("and writes nothing").to_string();
    assert!(error.contains("was copied to sqlite:"), "{error}");
    let copy = open_for(&to, Access::Write).await.expect("opens");
    assert!(
        copy.lease("target/jira", "b", Duration::from_secs(15), at(17)).await.expect("lease").is_some_and(|l| l.generation == 2)
    );
}

#[test]
fn a_step_of_the_schema_is_never_edited() {
    let steps = [
        "ecfcb0776b350914",
        "105407e5f27f7afc",
        "17e143e10bf5962e",
        "34dbb5570db255cd",
        "0e32cb5698e3da39",
        "0555cbfb1024fa81",
        "a1cbdee701772a59",
        "de986b480aad2d3c",
        "52c22ab579cfb45e",
        "8c874e7d43c0165b",
    ];
    assert_eq!(super::open::marks(), steps, "add a step; files out there were made by these");
    assert_eq!(super::server::marks(), ["6e6dbe06fd7f9d66"], "and databases by these");
}

#[tokio::test]
async fn a_file_made_between_two_releases_is_told_apart() {
    let place = Place::new();
    let mut old = super::open::make_old(&place.file, 4).await;
    old.execute("update _sqlx_migrations set checksum = x'00' where version = 2").await.expect("update");
    Connection::close(old).await.expect("close");
    let refused = SqlJournal::open(&place.file, CREATE).await.err().expect("refused");
    assert!(refused.to_string().contains("step 2 of its schema"), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("build that made it")), "{refused:?}");
}
