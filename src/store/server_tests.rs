//! What only a server can go wrong with: it is shared, restarted, and another machine.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rosterd_sim::postgres::{Cluster, Database, PASSWORD};
use secrecy::SecretString;
use sqlx::postgres::PgSslMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fence::Fence;
use super::leases;
use super::sql::{query, query_scalar};
use super::suite::*;
use super::{Access, OpenError, Password, Place, SqlJournal, open_any, open_for};
use crate::contract::journal::*;
use crate::model::change::OpKind;

const TTL: Duration = Duration::from_secs(15);

/// Lets the time of all leases pass.
fn pass(cluster: &Cluster, database: &Database, seconds: u32) {
    cluster.sql(&database.name, &format!("update leases set until = until - {}", seconds * 1000));
}

async fn journal(database: &Database) -> Arc<dyn Journal> {
    open_for(&database.url, Access::Write).await.expect("open")
}

/// The shared server with an empty database on it, or the end of the test.
macro_rules! server {
    () => {{
        let Some(cluster) = Cluster::shared() else { return };
        (cluster, cluster.database())
    }};
}

#[tokio::test]
async fn a_lease_runs_out_by_the_clock_of_the_server() {
    let (cluster, database) = server!();
    let (a, b) = (journal(&database).await, journal(&database).await);
    // Whatever the replicas take for the time.
    let (early, late) = (at(0), at(100_000_000));
    let held = |holder: &str, generation| Some(Lease { name: "jira".into(), holder: holder.into(), generation });
    assert_eq!(a.lease("jira", "a", TTL, late).await.expect("lease"), held("a", 1));
    assert_eq!(b.lease("jira", "b", TTL, late).await.expect("lease"), None);
    pass(cluster, &database, 10);
    assert_eq!(a.lease("jira", "a", TTL, early).await.expect("lease"), held("a", 1), "renewed");
    pass(cluster, &database, 10);
    assert_eq!(b.lease("jira", "b", TTL, late).await.expect("lease"), None, "the renewal counts");
    pass(cluster, &database, 10);
    assert!(b.leases(early).await.expect("leases")[0].has_run_out);
    assert_eq!(a.lease("jira", "a", TTL, early).await.expect("lease"), None, "a renewal revives nothing");
    assert!(b.leases(early).await.expect("leases")[0].has_run_out);
    assert_eq!(b.lease("jira", "b", TTL, early).await.expect("lease"), held("b", 2));
    assert_eq!(a.lease("jira", "a", TTL, late).await.expect("lease"), None);
}

#[tokio::test]
async fn before_its_lease_runs_out_a_holder_makes_no_further_call() {
    let (cluster, database) = server!();
    let journal = journal(&database).await;
    let lease = journal.lease("jira", "a", TTL, at(0)).await.expect("lease").expect("free");
    journal.fenced(&lease).standing().await.expect("it has a while to go");
    pass(cluster, &database, 14);
    let error = journal.fenced(&lease).standing().await.expect_err("it is about to run out").to_string();
    assert!(error.contains("the lease on jira was not renewed in time"), "{error}");
    journal.fenced(&lease).begin(&run_at("r1", &jira(), at(0))).await.expect("nobody has taken it: what was done is written");
}

#[tokio::test]
async fn a_takeover_waits_for_a_write_that_is_under_way_and_a_renewal_does_not() {
    let (cluster, database) = server!();
    let (a, b) = (open_any((&database.url).into(), Access::Write).await.expect("open"), journal(&database).await);
    let lease = a.lease("jira", "a", TTL, at(0)).await.expect("lease").expect("free");
    let fenced = a.seats.fenced(&lease);
    let mut seat = fenced.writer("").await.expect("a seat");
    let under_way = seat.writing().await.expect("begins");
    assert!(a.lease("jira", "a", TTL, at(0)).await.expect("renewed").is_some());
    pass(cluster, &database, 60);
    let takeover = tokio::spawn(async move { b.lease("jira", "b", TTL, at(0)).await });
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%into leases%'
        and datname = current_database()";
    while cluster.sql(&database.name, waits) != "1" {
        tokio::task::yield_now().await;
    }
    assert!(!takeover.is_finished());
    under_way.commit().await.expect("it is still the holder's");
    assert_eq!(takeover.await.expect("joined").expect("lease").expect("free").generation, 2);
}

#[tokio::test]
async fn of_several_that_start_at_once_one_makes_the_schema() {
    let (_, database) = server!();
    let open = || open_for(&database.url, Access::Write);
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    for journal in [a, b, c, d] {
        let checked = journal.expect("opens").verify(None).await.expect("verify");
        assert!(checked.holds() && checked.head.entry == 1, "{checked:#?}");
    }
}

#[tokio::test]
async fn writers_in_several_processes_take_turns() {
    let (_, database) = server!();
    let (a, b) = (journal(&database).await, journal(&database).await);
    a.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..40 {
        let journal = if n % 2 == 0 { a.clone() } else { b.clone() };
        writers.spawn(async move {
            let intents = [intent(OpKind::AddMember, &format!("u{n}"), Some("eng")), intent(OpKind::AddMember, "x", Some("eng"))];
            journal.intend(&"r1".into(), &jira(), &intents, at(1)).await
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("joined").expect("intended");
    }
    let checked = a.verify(None).await.expect("verify");
    assert!(checked.holds() && checked.head.entry == 42, "{checked:#?}");
}

#[tokio::test]
async fn a_newer_schema_and_another_programs_are_refused() {
    let (cluster, database) = server!();
    drop(journal(&database).await);
    cluster.sql(&database.name, "insert into _sqlx_migrations values (2, 'later', now(), true, '', 0)");
    for access in [Access::Read, Access::Write] {
        let error = open_for(&database.url, access).await.err().expect("refused");
        assert!(error.to_string().contains("has schema version 2, this rosterd knows versions up to 1"), "{error}");
        assert!(error.hint().is_some());
    }
    let other = cluster.database();
    cluster.sql(&other.name, "create table _sqlx_migrations (version bigint)");
    let error = open_for(&other.url, Access::Write).await.err().expect("refused").to_string();
    assert!(error.contains("another program"), "{error}");
}

#[tokio::test]
async fn to_read_leaves_no_trace() {
    let (cluster, database) = server!();
    let tables = || cluster.sql(&database.name, "select count(*) from pg_tables where schemaname = 'public'");
    let empty = open_for(&database.url, Access::Read).await.expect("opens");
    assert!(empty.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await.expect("reads").is_empty());
    assert_eq!(tables(), "0");
    journal(&database).await.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    let reading = open_for(&database.url, Access::Read).await.expect("opens");
    assert!(reading.run("r1").await.expect("reads").is_some());
    let error = reading.begin(&run_at("r2", &jira(), at(0))).await.expect_err("refused").to_string();
    assert!(error.contains("dry run"), "{error}");
}

#[tokio::test]
async fn a_password_comes_from_elsewhere_and_is_never_told() {
    let (cluster, database) = server!();
    let url = format!("postgres://guarded@127.0.0.1:{}/{}", cluster.port(), database.name);
    let open = |password: Option<&'static str>| {
        let url = url.clone();
        async move {
            let password = password.map(|password| Arc::new(move || Ok(SecretString::from(password))) as Password);
            open_for(Place { url: &url, password: password.as_ref() }, Access::Write).await
        }
    };
    open(Some(PASSWORD)).await.expect("the right one");
    for wrong in [Some("Falsches"), None] {
        let error = open(wrong).await.err().expect("refused");
        assert!(matches!(error, OpenError::Server { .. }), "{error}");
        assert!(!error.to_string().contains("Falsches") && error.to_string().contains(&database.name), "{error}");
    }
}

#[tokio::test]
async fn a_password_that_was_changed_is_read_anew() {
    let (cluster, database) = server!();
    cluster.sql("postgres", "create role turning login superuser password 'eins'");
    let url = format!("postgres://turning@127.0.0.1:{}/{}", cluster.port(), database.name);
    let kept = Arc::new(Mutex::new("eins"));
    let password: Password = {
        let kept = kept.clone();
        Arc::new(move || Ok(SecretString::from(*kept.lock().expect("not poisoned"))))
    };
    let journal = open_for(Place { url: &url, password: Some(&password) }, Access::Write).await.expect("opens");
    cluster.sql("postgres", "alter role turning password 'zwei'");
    *kept.lock().expect("not poisoned") = "zwei";
    cluster.sql("postgres", "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'turning'");
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("it connects with the new one");
    let unreadable: Password = Arc::new(|| Err("the secret of daemon.state_password cannot be read".into()));
    let error = open_for(Place { url: &url, password: Some(&unreadable) }, Access::Write).await.err().expect("refused");
    assert!(error.to_string().contains("daemon.state_password cannot be read") && !error.is_passing(), "{error}");
}

#[test]
fn off_this_machine_nobody_in_between_may_read_or_change_what_is_said() {
    let mode = |url: &str| super::server::Server::at(url, None).map(|server| server.ssl_mode());
    for (url, expected) in [
        ("postgres://db.example.com/rosterd", PgSslMode::VerifyFull),
        ("postgres://db.example.com/rosterd?sslmode=verify-ca", PgSslMode::VerifyCa),
        ("postgres://db.example.com/rosterd?allow_insecure=true", PgSslMode::VerifyFull),
        ("postgres://db.example.com/rosterd?sslmode=disable&allow_insecure=true", PgSslMode::Disable),
        ("postgres://192.0.2.7/rosterd?host=192.0.2.8", PgSslMode::VerifyFull),
        ("postgres://127.0.0.1/rosterd?host=db.example.com", PgSslMode::VerifyFull),
        ("postgres://127.0.0.1/rosterd", PgSslMode::Prefer),
        ("postgres://[::1]/rosterd?sslmode=disable", PgSslMode::Disable),
        ("postgres://localhost/rosterd?sslmode=require", PgSslMode::Require),
        ("postgres:///rosterd?host=/run/postgresql", PgSslMode::Prefer),
    ] {
        let found = mode(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{url}");
    }
    for weak in ["disable", "allow", "prefer", "require"] {
        let error = mode(&format!("postgres://db.example.com/rosterd?sslmode={weak}")).expect_err("refused").to_string();
        assert!(error.contains("anybody between here and db.example.com") && error.contains("allow_insecure=true"), "{error}");
    }
    let error = mode("postgres://db.example.com/rosterd?allow_insecure=yes").expect_err("refused").to_string();
    assert!(error.contains("true or false"), "{error}");
}

/// Stands between a journal and its server, as a network does.
struct Between {
    port: u16,
    way: Arc<AtomicU8>,
}

const THROUGH: u8 = 0;
/// Whatever is said goes nowhere.
const SWALLOW: u8 = 1;
/// The server hears that it is to commit, and its answer is not heard.
const CUT_AT_COMMIT: u8 = 2;

impl Between {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let way = Arc::new(AtomicU8::new(THROUGH));
        let as_told = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("it serves");
                tokio::spawn(Self::pass(client, server, as_told.clone()));
            }
        });
        Self { port, way }
    }

    async fn pass(mut client: TcpStream, mut server: TcpStream, way: Arc<AtomicU8>) -> Option<()> {
        let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut is_last = false;
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let said = &up[..read.ok().filter(|read| *read > 0)?];
                    match way.load(Ordering::SeqCst) {
                        SWALLOW => continue,
                        CUT_AT_COMMIT => is_last |= said.windows(6).any(|word| word == b"COMMIT"),
                        _ => {}
                    }
                    server.write_all(said).await.ok()?;
                }
                read = server.read(&mut down) => {
                    let said = &down[..read.ok().filter(|read| *read > 0 && !is_last)?];
                    if way.load(Ordering::SeqCst) != SWALLOW {
                        client.write_all(said).await.ok()?;
                    }
                }
            }
        }
    }

    /// A journal behind it that waits so long for an answer.
    async fn journal(&self, database: &Database, seconds: u64) -> SqlJournal {
        let url = format!("postgres://rosterd@127.0.0.1:{}/{}?sslmode=disable", self.port, database.name);
        let server = super::server::Server::at(&url, None).expect("an address");
        let server = server.with_answers_within(Duration::from_secs(seconds));
        SqlJournal { seats: server.open(false, true).await.expect("opens").expect("it writes") }
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_any_more_is_given_up_and_holds_up_nobody() {
    let (cluster, database) = server!();
    let between = Between::before(cluster.port()).await;
    let (cut_off, other) = (between.journal(&database, 3).await, journal(&database).await);
    {
        let mut seat = cut_off.seats.writer("").await.expect("a seat");
        let mut under_way = seat.writing().await.expect("begins");
        query("set local idle_in_transaction_session_timeout = 0").execute(&mut under_way).await.expect("it may stand still");
        between.way.store(SWALLOW, Ordering::SeqCst);
        let error = query("select 1 as one").execute(&mut under_way).await.expect_err("no answer");
        assert!(super::failure::is_busy(&error) && error.to_string().contains("no answer within 3 seconds"), "{error}");
        drop(under_way);
        other.begin(&run_at("r1", &jira(), at(0))).await.expect("the lock of all writers is free");
    }
    between.way.store(THROUGH, Ordering::SeqCst);
    cut_off.begin(&run_at("r2", &jira(), at(0))).await.expect("over another connection");
    assert!(other.verify(None).await.expect("verify").holds());
}

#[tokio::test]
async fn the_lock_of_all_writers_is_not_waited_for_for_ever() {
    let (cluster, database) = server!();
    let between = Between::before(cluster.port()).await;
    let (waits, holds) =
        (between.journal(&database, 3).await, open_any((&database.url).into(), Access::Write).await.expect("open"));
    let mut seat = holds.seats.writer("").await.expect("a seat");
    let under_way = seat.writing().await.expect("begins");
    let error = waits.begin(&run_at("r1", &jira(), at(0))).await.expect_err("somebody else has it");
    assert!(error.passing && error.to_string().contains("no answer within 3 seconds"), "{error}");
    under_way.commit().await.expect("it was not disturbed");
    waits.begin(&run_at("r1", &jira(), at(0))).await.expect("its turn");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_told_as_what_may_have_been_written() {
    let (cluster, database) = server!();
    let between = Between::before(cluster.port()).await;
    let journal = between.journal(&database, 30).await;
    between.way.store(CUT_AT_COMMIT, Ordering::SeqCst);
    let error = journal.begin(&run_at("r1", &jira(), at(0))).await.expect_err("no answer");
    assert!(error.passing && error.to_string().contains("may have been written, or not; look with `rosterd status`"), "{error}");
    between.way.store(THROUGH, Ordering::SeqCst);
    assert!(journal.run("r1").await.expect("reads").is_some(), "this time it was");
}

#[tokio::test]
async fn a_write_that_is_dropped_in_its_middle_holds_up_nobody() {
    let (cluster, database) = server!();
    let (a, other) = (open_any((&database.url).into(), Access::Write).await.expect("open"), journal(&database).await);
    let mut seat = a.seats.writer("").await.expect("a seat");
    let mut under_way = seat.writing().await.expect("begins");
    query("set local idle_in_transaction_session_timeout = 0").execute(&mut under_way).await.expect("it may stand still");
    // The seat is kept: nobody speaks on its connection again.
    drop(under_way);
    other.begin(&run_at("r1", &jira(), at(0))).await.expect("the lock of all writers is free");
    drop(seat);

    // One that is cancelled while the server is at work for it.
    let mut seat = a.seats.writer("").await.expect("a seat, with a connection of its own");
    let under_way = seat.writing().await.expect("begins");
    // Who opens the store meanwhile need not wait: its schema is there.
    let (b, third) = (journal(&database).await, journal(&database).await);
    let waiting = tokio::spawn(async move { b.begin(&run_at("r2", &jira(), at(0))).await });
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    while cluster.sql(&database.name, waits) != "1" {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    waiting.await.expect_err("cancelled");
    under_way.commit().await.expect("it was first");
    third.begin(&run_at("r3", &jira(), at(0))).await.expect("the lock of all writers is free");
    assert!(third.run("r2").await.expect("reads").is_none(), "nothing of it stays");
}

#[tokio::test]
async fn a_lease_is_not_renewed_for_a_run_whose_writes_hang() {
    let (_, database) = server!();
    let journal = open_any((&database.url).into(), Access::Write).await.expect("open");
    let lease = journal.lease("jira", "a", TTL, at(0)).await.expect("lease").expect("free");
    let fenced = journal.seats.fenced_by(Fence::without_patience(&lease));
    let renewed = || leases::take(&fenced, "jira", "a", TTL, at(0));
    let mut seat = fenced.writer("").await.expect("a seat");
    let under_way = seat.writing().await.expect("begins");
    let error = renewed().await.expect_err("its write hangs").to_string();
    assert!(error.contains("a write of its run's has been under way"), "{error}");
    under_way.commit().await.expect("it goes through after all");
    drop(seat);
    assert_eq!(renewed().await.expect("nothing is under way"), Some(lease));
}

#[tokio::test]
async fn a_store_that_was_copied_takes_nothing_more_not_even_from_who_had_it_open() {
    let (_, database) = server!();
    let copy = tempfile::tempdir().expect("a folder");
    let copy = format!("sqlite:{}", copy.path().join("copy.db").display());
    let idle = journal(&database).await;
    let lease = idle.lease("target/jira", "a", TTL, at(0)).await.expect("lease").expect("free");
    let at_work = super::copy((&database.url).into(), (&copy).into(), |_| false, at(0)).await.expect_err("somebody is at work");
    assert!(at_work.to_string().contains("is at work"), "{at_work}");
    idle.unlease(&lease).await.expect("given back");

    super::copy((&database.url).into(), (&copy).into(), |_| false, at(0)).await.expect("copied");
    let told = "was copied to sqlite:";
    let write = idle.begin(&run_at("r1", &jira(), at(1))).await.expect_err("refused").to_string();
    let take = idle.lease("target/jira", "b", TTL, at(1)).await.expect_err("refused").to_string();
    assert!(write.contains(told) && take.contains(told), "{write}; {take}");
    let error = open_for(&database.url, Access::Write).await.err().expect("refused");
    assert!(matches!(error, OpenError::Moved { .. }) && error.to_string().contains(told), "{error}");
    open_for(&database.url, Access::Read).await.expect("it can still be looked at");
    open_for(&copy, Access::Write).await.expect("the copy is in use").begin(&run_at("r1", &jira(), at(1))).await.expect("begun");

    let was = super::reopen((&database.url).into()).await.expect("reopened");
    assert_eq!(was.as_deref(), Some(copy.as_str()));
    idle.begin(&run_at("r1", &jira(), at(1))).await.expect("in use again");
    assert_eq!(super::reopen((&database.url).into()).await.expect("nothing to do"), None);
}

#[tokio::test]
async fn what_the_driver_does_not_know_in_an_address_is_refused() {
    for (url, told) in [
        ("postgres://db/rosterd?ssl_mode=verify-full", "the parameter \"ssl_mode\" is not known"),
        ("postgres://db/rosterd?sslmode=always", "always"),
        ("postgres://db/rosterd?connect_timeout=3", "connect_timeout"),
    ] {
        let error = open_for(url, Access::Write).await.err().expect("refused");
        assert!(error.to_string().contains(told) && error.hint().is_some(), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_crashes_is_found_again_and_nothing_of_a_broken_call_stays() {
    let Some(cluster) = Cluster::start() else { return };
    let database = cluster.database();
    let journal = journal(&database).await;
    let lease = journal.lease("target/jira", "a", TTL, at(0)).await.expect("lease").expect("free");
    let mine = journal.fenced(&lease);
    mine.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    cluster.crash();
    cluster.boot();
    mine.intend(&"r1".into(), &jira(), &[intent(OpKind::AddMember, "ann", Some("eng"))], at(1)).await.expect("intend");
    journal.lease("target/jira", "a", TTL, at(0)).await.expect("lease").expect("renewed");

    cluster.crash();
    let ends = tokio::spawn({
        let mine = mine.clone();
        async move { mine.end(&"r1".into(), &ended(Ended::Applied, at(2))).await }
    });
    tokio::task::yield_now().await;
    cluster.boot();
    ends.await.expect("joined").expect("it was waited for");
    assert!(journal.verify(None).await.expect("verify").holds());
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_of_a_write_leaves_nothing_of_it() {
    let (cluster, database) = server!();
    let journal = open_any((&database.url).into(), Access::Write).await.expect("open");
    {
        let mut seat = journal.seats.writer("").await.expect("a seat");
        let mut under_way = seat.writing().await.expect("begins");
        let begin = "insert into runs (id, job, target, fired_by, began_at) values ('r1', 'staff', 'jira', 'schedule', 1)";
        query(begin).execute(&mut under_way).await.expect("written");
        let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and state = 'idle in transaction'";
        assert_eq!(cluster.sql(&database.name, cut), "1");
        let error = under_way.commit().await.expect_err("the connection is gone");
        assert!(super::failure::is_busy(&error), "{error}");
    }
    assert!(journal.run("r1").await.expect("reads").is_none());
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("the next call has a connection of its own");
}

#[tokio::test]
async fn who_stands_still_in_the_middle_of_a_write_is_cut_off() {
    let (_, database) = server!();
    let still = open_any((&database.url).into(), Access::Write).await.expect("open");
    let mut seat = still.seats.writer("").await.expect("a seat");
    let mut under_way = seat.writing().await.expect("begins");
    let patience = "select setting from pg_settings where name = 'idle_in_transaction_session_timeout'";
    let told: String = query_scalar(patience).fetch_one(&mut under_way).await.expect("reads");
    assert_eq!(told, "10000", "ten seconds, for whoever is stopped");
    query("set local idle_in_transaction_session_timeout = 50").execute(&mut under_way).await.expect("less will do here");
    let other = journal(&database).await;
    other.begin(&run_at("r1", &jira(), at(0))).await.expect("it waits no longer than that");
    under_way.commit().await.expect_err("it was cut off");
}

/// An authority, with a certificate of its making for "localhost" and the key of that.
fn authority() -> (String, String, String) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["localhost".to_owned()]).expect("a name").signed_by(&key, &issuer).expect("signed");
    (pem, certificate.pem(), key.serialize_pem())
}

#[tokio::test]
async fn the_connection_is_as_safe_as_the_address_demands() {
    let Some(cluster) = Cluster::start() else { return };
    let database = cluster.database();
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, certificate, key) = authority();
    let (other, ..) = authority();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
        folder.path().join(name).display().to_string()
    };
    let (ca, other) = (file("ca.pem", &ca), file("other.pem", &other));
    let open = |host: &str, how: String| {
        let url = format!("postgres://rosterd@{host}:{}/{}?{how}", cluster.port(), database.name);
        async move { open_any((&url).into(), Access::Write).await }
    };
    let error = open("127.0.0.1", "sslmode=require".into()).await.err().expect("the server has no certificate");
    assert!(matches!(error, OpenError::Server { .. }) && !error.is_passing(), "{error}");

    cluster.write("server.crt", &certificate);
    cluster.write("server.key", &key);
    cluster.sql("postgres", "alter system set ssl = on");
    cluster.reload();
    let whole = |ca: &str| format!("sslmode=verify-full&sslrootcert={ca}");
    let journal = open("localhost", whole(&ca)).await.expect("signed by whom we trust, for this name");
    let is_safe = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let mut seat = journal.seats.reader("").await.expect("a seat");
    assert!(query_scalar::<bool>(is_safe).fetch_one(&mut seat).await.expect("reads"));
    for (host, how) in [("localhost", whole(&other)), ("127.0.0.1", whole(&ca)), ("localhost", "sslmode=verify-full".into())] {
        let error = open(host, how.clone()).await.err().expect("refused");
        assert!(matches!(error, OpenError::Server { .. }) && !error.is_passing(), "{how}: {error}");
        assert!(error.to_string().contains("no certificate that is trusted"), "{how}: {error}");
    }
    open("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}")).await.expect("whatever its name");
}

#[tokio::test]
async fn a_copy_leaves_out_no_table_and_no_column() {
    let (cluster, database) = server!();
    drop(journal(&database).await);
    let columns = "select table_name || ': ' || string_agg(column_name::text, ', ' order by column_name::text) from information_schema.columns
        where table_schema = 'public' and table_name not in ('_sqlx_migrations', 'sqlite_sequence', 'moved')
        group by table_name order by table_name";
    let of_the_server = cluster.sql(&database.name, columns);
    let mut copied: Vec<String> = super::copy::TABLES
        .into_iter()
        .chain(super::copy::FROM_THE_START)
        .map(|(table, columns)| {
            let mut columns: Vec<&str> = columns.split(',').map(str::trim).collect();
            columns.sort_unstable();
            format!("{table}: {}", columns.join(", "))
        })
        .collect();
    copied.sort_unstable();
    assert_eq!(of_the_server.lines().collect::<Vec<_>>(), copied);
    let file = open_any("sqlite::memory:".into(), Access::Write).await.expect("open");
    let mut seat = file.seats.reader("").await.expect("a seat");
    for (table, columns) in super::copy::TABLES.into_iter().chain(super::copy::FROM_THE_START) {
        let names = "select name from pragma_table_info($1) order by name";
        let names: Vec<String> = query_scalar(names).bind(table).fetch_all(&mut seat).await.expect("reads");
        let mut columns: Vec<&str> = columns.split(',').map(str::trim).collect();
        columns.sort_unstable();
        assert_eq!(names, columns, "{table}");
    }
}

/// An intent that a crash of the server takes back proves nothing, whatever the database says by default and later.
#[tokio::test]
async fn what_is_acknowledged_is_on_the_disk() {
    let (cluster, database) = server!();
    let kept = |journal: &SqlJournal| {
        let seats = journal.seats.clone();
        async move {
            let mut seat = seats.writer("").await.expect("a seat");
            query_scalar::<String>("show synchronous_commit")
                .fetch_one(&mut seat.writing().await.expect("begins"))
                .await
                .expect("told")
        }
    };
    for word in ["off", "local"] {
        cluster.sql(&database.name, &format!("alter database {} set synchronous_commit = {word}", database.name));
        let journal = open_any((&database.url).into(), Access::Write).await.expect("open");
        assert_eq!(kept(&journal).await, "on", "{word}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_name_is_refused() {
    let (cluster, database) = server!();
    let provider = if cluster.version() >= 15 { "locale_provider libc" } else { "" };
    let made = format!("{}_ascii", database.name);
    cluster.sql("postgres", &format!("create database {made} encoding 'SQL_ASCII' locale 'C' {provider} template template0"));
    let url = database.url.replace(&database.name, &made);
    let error = open_for(&url, Access::Write).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("SQL_ASCII"), "{error}");
}
