//! Several daemons on one PostgreSQL: any may do any work, no two do the same, and what one fails to do another does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rosterd::contract::journal::{Journal, Outcome, Standing};
use rosterd::contract::notice::{Event, Notice};
use rosterd::model::retry::{Retry, Subject};
use rosterd::store::{self, Access};
use rosterd_sim::postgres::{Cluster, Database, PASSWORD};

use crate::http::{get, listening};
use crate::site::{Daemon, NEVER, Site, Systemd, until_told, until_true};

const EVERY_SECOND: &str = "schedule = { every = \"1s\" }";

/// Calls that one daemon has in hand at three targets at the most.
const IN_HAND: usize = 12;

/// The shared server with an empty database on it, or the end of the test.
macro_rules! database {
    () => {{
        let Some(cluster) = Cluster::shared() else { return };
        cluster.database()
    }};
}

/// What an undisturbed run makes of the small world.
async fn reference() -> Site {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    site
}

async fn leases(site: &Site) -> Vec<Standing> {
    site.journal().await.leases(Utc::now()).await.expect("readable")
}

/// Waits until one of the daemons is in the middle of its changes, and returns its place among them.
async fn at_work(site: &Site, daemons: &[Daemon], writes: usize) -> usize {
    until_true("changes", || site.writes() >= writes).await;
    until_told("somebody at work", async || {
        let leases = leases(site).await;
        let of = |standing: &Standing| daemons.iter().position(|d| standing.lease.holder.contains(&format!(":{}:", d.pid())));
        leases.iter().filter(|standing| held_by_a_run(&standing.lease.name)).find_map(of).ok_or(format!("{leases:?}"))
    })
    .await
}

/// Not the sign of life of a daemon, which nobody takes over.
fn held_by_a_run(lease: &str) -> bool {
    lease.starts_with("target/")
}

async fn quiet(site: &Site) {
    until_true("quiet", || site.targets().iter().all(|t| t.log.in_flight() == 0)).await;
}

/// All is as after an undisturbed run, nothing was done twice, and the record tells it.
async fn as_undisturbed(site: &Site, reference: &Site) {
    assert_eq!(site.picture(), reference.picture());
    site.nothing_was_done_twice();
    site.run(&["journal", "verify"]).await.exits(0);
}

async fn daemons<const N: usize>(site: &Site) -> [Daemon; N] {
    let mut daemons = Vec::new();
    for _ in 0..N {
        daemons.push(site.daemon().await);
    }
    daemons.try_into().ok().expect("as many as were started")
}

#[tokio::test]
async fn of_three_one_runs_the_job_each_time_it_is_due() {
    let database = database!();
    let reference = reference().await;
    let site = Site::on(&database.url, EVERY_SECOND).await;
    let began = Utc::now();
    let daemons: [Daemon; 3] = daemons(&site).await;
    let journal = site.journal().await;
    let query = rosterd::contract::journal::RunQuery { limit: 1000, ..Default::default() };
    let runs = until_told("15 runs", async || {
        let runs = journal.runs(&query).await.expect("readable");
        if runs.len() < 15 { Err(runs.len()) } else { Ok(runs) }
    })
    .await;
    let seconds = (Utc::now() - began).num_seconds();
    let at_jira: Vec<_> = runs.iter().filter(|run| run.start.target.as_str() == "jira").collect();
    assert!(at_jira.len() as i64 <= seconds + 1, "{} runs in {seconds} s: {at_jira:?}", at_jira.len());
    for run in &at_jira {
        let same = at_jira.iter().filter(|other| other.start.at.timestamp() == run.start.at.timestamp()).count();
        assert_eq!(same, 1, "one moment, one run: {at_jira:?}");
    }
    for daemon in daemons {
        daemon.stop().await;
    }
    as_undisturbed(&site, &reference).await;
    assert_eq!(site.writes(), reference.writes());
}

#[tokio::test]
async fn what_a_killed_daemon_was_doing_another_finishes_at_once() {
    let database = database!();
    let reference = reference().await;
    let site = Site::on(&database.url, NEVER).await;
    site.latency(Duration::from_millis(50));
    let standby = site.daemon().await;
    let mut first = Daemon::start(&mut site.command(&["sync"]));
    until_true("changes", || site.writes() >= 10).await;
    // Stopped before it is killed, so that what is under way is known to have taken effect.
    first.signal("STOP");
    quiet(&site).await;
    first.signal("KILL");
    first.ends().await;
    site.latency(Duration::ZERO);
    standby.line("what was left undone is run here").await;
    let again = standby.line("changes of a run that died are looked at again by this one").await;
    assert!(again.contains("run.id="), "by which: {again}");
    until_true("all in step", || site.picture() == reference.picture()).await;
    standby.stop().await;
    as_undisturbed(&site, &reference).await;
    let lost = site.record().await.iter().flat_map(|(_, changes)| changes).filter(|c| c.outcome == Some(Outcome::Lost)).count();
    assert!(lost > 0, "something was in hand");
    assert!(site.record().await.iter().all(|(run, _)| run.end.is_some()));
}

#[tokio::test]
async fn a_daemon_that_was_stopped_for_too_long_begins_nothing_more_on_waking() {
    let database = database!();
    let reference = reference().await;
    let site = Site::on(&database.url, EVERY_SECOND).await;
    site.latency(Duration::from_millis(20));
    let daemons: [Daemon; 2] = daemons(&site).await;
    let holder = at_work(&site, &daemons, 10).await;
    let (paused, other) = (&daemons[holder], &daemons[1 - holder]);
    paused.signal("STOP");
    quiet(&site).await;
    let name = format!(":{}:", paused.pid());
    let held: Vec<String> =
        leases(&site).await.into_iter().filter(|s| s.lease.holder.contains(&name)).map(|s| s.lease.name).collect();
    assert!(!held.is_empty());
    site.latency(Duration::ZERO);
    // Once its leases have run out the other has them, one after the other.
    until_told("its leases to be the other's", async || {
        let leases = leases(&site).await;
        let theirs = leases.iter().any(|s| s.lease.holder.contains(&name) && held_by_a_run(&s.lease.name));
        if theirs { Err(format!("{leases:?}")) } else { Ok(()) }
    })
    .await;
    for target in held.iter().filter_map(|name| name.strip_prefix("target/")) {
        let so_far = other.count(&["run converged", target]);
        other.nth(&["run converged", target], so_far + 1).await;
    }
    quiet(&site).await;
    as_undisturbed(&site, &reference).await;
    let writes = site.writes();
    paused.signal("CONT");
    let told = paused.line("run failed").await;
    // Whichever it meets first: that its lease is another's, or that the server has given up a line that stood still.
    assert!(told.contains("was lost") || told.contains("database"), "{told}");
    for line in paused.lines().iter().filter(|line| line.contains("the lease was lost: it was not renewed")) {
        assert!(line.contains("run.id="), "of which run: {line}");
    }
    // It goes on as one of two.
    for daemon in daemons {
        daemon.stop().await;
    }
    // What it had in hand it may have finished, and begun nothing: most of its changes were still before it. The other has made
    // all of these, so whatever it made on waking would be made twice.
    assert!(site.writes() <= writes + IN_HAND, "{} writes on waking", site.writes() - writes);
    as_undisturbed(&site, &reference).await;
}

/// Of so many the one that is at work is killed in the middle of its changes; each target that it held is another's then.
async fn one_is_killed_in_the_middle<const N: usize>() {
    let database = database!();
    let reference = reference().await;
    let site = Site::on(&database.url, EVERY_SECOND).await;
    // Slow enough that it is still in the middle when it is known who is at work.
    site.latency(Duration::from_millis(200));
    let daemons: [Daemon; N] = daemons(&site).await;
    let holder = at_work(&site, &daemons, 10).await;
    let mut others = Vec::from(daemons);
    let mut leader = others.swap_remove(holder);
    leader.signal("KILL");
    leader.ends().await;
    assert_ne!(site.picture(), reference.picture(), "it was in the middle");
    site.latency(Duration::ZERO);
    until_true("all in step", || site.picture() == reference.picture()).await;
    let converged = |target: &str| others.iter().map(|other| other.count(&["run converged", target])).sum::<usize>();
    until_true("all converged", || ["jira", "confluence", "bitbucket"].iter().all(|target| converged(target) >= 1)).await;
    for other in others {
        other.stop().await;
    }
    as_undisturbed(&site, &reference).await;
    assert!(site.record().await.iter().all(|(run, _)| run.end.is_some()), "what died has an end");
}

#[tokio::test]
async fn what_a_leader_was_doing_that_is_killed_another_finishes() {
    one_is_killed_in_the_middle::<2>().await;
}

#[tokio::test]
async fn what_one_of_three_was_doing_that_is_killed_the_others_finish() {
    one_is_killed_in_the_middle::<3>().await;
}

#[tokio::test]
async fn a_daemon_that_is_told_to_stop_hands_its_work_over() {
    let database = database!();
    let reference = reference().await;
    let site = Site::on(&database.url, EVERY_SECOND).await;
    site.latency(Duration::from_millis(20));
    let daemons: [Daemon; 2] = daemons(&site).await;
    let holder = at_work(&site, &daemons, 10).await;
    let mut daemons = Vec::from(daemons);
    daemons.swap_remove(holder).stop().await;
    site.latency(Duration::ZERO);
    let other = daemons.remove(0);
    other.converges(1).await;
    other.stop().await;
    as_undisturbed(&site, &reference).await;
}

#[tokio::test]
async fn a_database_that_crashes_in_the_middle_costs_a_run_and_nothing_else() {
    let Some(cluster) = Cluster::start() else { return };
    let database = cluster.database();
    let reference = reference().await;
    let site = Site::on(&database.url, EVERY_SECOND).await;
    site.latency(Duration::from_millis(20));
    let daemons: [Daemon; 2] = daemons(&site).await;
    for writes in [10, 40] {
        until_true("changes", || site.writes() >= writes).await;
        cluster.crash();
        cluster.boot();
    }
    site.latency(Duration::ZERO);
    let both = || daemons.iter().map(|d| d.count(&["run converged"])).sum::<usize>();
    until_true("all in step", || both() >= 6).await;
    for daemon in daemons {
        daemon.stop().await;
    }
    as_undisturbed(&site, &reference).await;
}

#[tokio::test]
async fn connections_that_are_cut_in_the_middle_cost_a_run_and_nothing_else() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = cluster.database();
    let reference = reference().await;
    let site = Site::on(&database.url, EVERY_SECOND).await;
    site.latency(Duration::from_millis(20));
    let daemons: [Daemon; 2] = daemons(&site).await;
    for writes in [10, 40] {
        until_true("changes", || site.writes() >= writes).await;
        cluster.sql(
            "postgres",
            &format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'", database.name),
        );
    }
    site.latency(Duration::ZERO);
    let both = |target: &str| daemons.iter().map(|d| d.count(&["run converged", target])).sum::<usize>();
    until_true("all in step", || ["jira", "confluence", "bitbucket"].iter().all(|target| both(target) >= 1)).await;
    for daemon in daemons {
        daemon.stop().await;
    }
    as_undisturbed(&site, &reference).await;
}

#[tokio::test]
async fn of_several_that_find_an_empty_database_one_makes_the_tables_and_all_begin() {
    let database = database!();
    let reference = reference().await;
    let site = Site::on(&database.url, EVERY_SECOND).await;
    let daemons: Vec<Daemon> = (0..4).map(|_| Daemon::start(&mut site.command(&["run"]))).collect();
    for daemon in &daemons {
        daemon.line("is ready").await;
    }
    let all = |target: &str| daemons.iter().map(|d| d.count(&["run converged", target])).sum::<usize>();
    until_true("all in step", || ["jira", "confluence", "bitbucket"].iter().all(|target| all(target) >= 1)).await;
    for daemon in daemons {
        daemon.stop().await;
    }
    as_undisturbed(&site, &reference).await;
}

/// The processes of a server, the one that answers for new connections first.
fn processes(cluster: &Cluster) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let one = cluster.sql("postgres", "select pid from pg_stat_activity where backend_type = 'checkpointer'");
    let server = one.parse().ok().and_then(parent).expect("the checkpointer has a parent");
    let all = std::fs::read_dir("/proc").expect("there are processes").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    std::iter::once(server).chain(pids.filter(|pid| parent(*pid) == Some(server))).collect()
}

/// Signals each of them. One that served a connection may be gone with it.
fn signal(pids: &[u32], name: &str) {
    let kill = |pid: &u32| {
        let mut kill = std::process::Command::new("kill");
        let output = kill.args([format!("-{name}"), pid.to_string()]).output().expect("kill starts");
        output.status.success()
    };
    let reached: Vec<bool> = pids.iter().map(kill).collect();
    assert!(reached[0], "the server is there");
}

#[tokio::test]
async fn a_daemon_whose_store_hangs_is_alive_says_so_and_hears_signals() {
    let Some(cluster) = Cluster::start() else { return };
    let database = cluster.database();
    let site = Site::on(&database.url, EVERY_SECOND).await;
    let port = listening(&site, "127.0.0.1").await;
    let systemd = Systemd::listen(site.folder.path());
    let mut command = site.command(&["run"]);
    systemd.tell(command.env("WATCHDOG_USEC", "300000"));
    let mut daemon = Daemon::start(&mut command);
    daemon.converges(1).await;
    assert_eq!(get(port, "/readyz").await.status, 200);

    let server = processes(&cluster);
    signal(&server, "STOP");
    let begin = Instant::now();
    let ready = get(port, "/readyz").await;
    assert!(ready.status == 503 && ready.body.contains("store cannot be read"), "{ready:?}");
    // Long after the looks at queue and others have been begun: the watchdog is fed, and whoever asks is answered.
    let mut heard = systemd.heard().len();
    for _ in 0..10 {
        (heard, _) = systemd.message(heard + 1, &["WATCHDOG=1"]).await;
        assert_eq!(get(port, "/livez").await.status, 200);
    }
    daemon.signal("HUP");
    daemon.line("the configuration was reloaded").await;
    systemd.message(heard + 1, &["WATCHDOG=1"]).await;
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    signal(&server, "CONT");
    let converged = daemon.count(&["run converged", "jira"]);
    daemon.nth(&["run converged", "jira"], converged + 1).await;
    until_told("it to be ready again", async || {
        let ready = get(port, "/readyz").await;
        if ready.status == 200 { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;

    // Nor does it wait for the store to stop.
    site.daemon_keys("drain = \"2s\"");
    daemon.signal("HUP");
    daemon.nth(&["the configuration was reloaded"], 2).await;
    signal(&server, "STOP");
    let told = Instant::now();
    daemon.signal("TERM");
    let code = daemon.ends().await;
    signal(&server, "CONT");
    assert_eq!(code, Some(0), "{}", daemon.lines().join("\n"));
    assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
}

/// Another configuration over the same systems and state: this one, changed.
fn another(site: &Site, name: &str, change: impl FnOnce(String) -> String) -> tokio::process::Command {
    let text = std::fs::read_to_string(site.file()).expect("there is a configuration");
    let file = site.folder.path().join(name);
    std::fs::write(&file, change(text)).expect("written");
    let mut command = crate::site::binary();
    command.args(["run", "--config"]).arg(file);
    command
}

#[tokio::test]
async fn a_daemon_that_still_has_a_refused_credential_does_not_try_it_again_while_another_goes_on_with_a_new_one() {
    let database = database!();
    let site = Site::on(&database.url, EVERY_SECOND).await;
    let path = |name: &str| site.folder.path().join(name).display().to_string();
    std::fs::copy(path("jira-token"), path("old-token")).expect("copied");
    let old = |text: String| text.replace(&path("jira-token"), &path("old-token"));
    let late = Daemon::start(&mut another(&site, "late.toml", old));
    late.converges(1).await;
    let jira = &site.estate.jira;
    let refusals = || jira.running.log.all().iter().filter(|seen| seen.status == 401).count();
    jira.gate.revoke();
    until_told("jira to be put to rest", async || {
        if site.resting().await == ["jira"] { Ok(()) } else { Err(format!("{:?}", late.lines())) }
    })
    .await;
    jira.gate.accept_token("renewed");
    site.put("jira-token", "renewed");
    let renewed = site.daemon().await;
    renewed.nth(&["run converged", "jira"], 1).await;
    let before = refusals();
    // A new process with the old credential has not met the refusal itself.
    late.stop().await;
    let late = Daemon::start(&mut another(&site, "late.toml", old));
    late.line("is ready").await;
    let so_far = renewed.count(&["run converged", "jira"]);
    renewed.nth(&["run converged", "jira"], so_far + 2).await;
    // Alone it has every turn.
    renewed.stop().await;
    let so_far = late.count(&["run converged", "confluence"]);
    late.nth(&["run converged", "confluence"], so_far + 3).await;
    assert_eq!(refusals(), before, "it is not tried again");
    assert_eq!(site.resting().await, [""; 0]);
    // Once it has the new one as well, it goes on there too.
    std::fs::copy(path("jira-token"), path("old-token")).expect("copied");
    late.signal("HUP");
    late.line("the configuration was reloaded").await;
    let so_far = late.count(&["run converged", "jira"]);
    late.nth(&["run converged", "jira"], so_far + 1).await;
    late.stop().await;
}

fn waiting(target: &str, user: &str, due: DateTime<Utc>) -> Retry {
    Retry {
        job: "staff".into(),
        target: target.into(),
        subject: Subject::User(user.into()),
        attempts: 1,
        first_seen: due,
        not_before: due,
        cause: "an outage".into(),
        quarantined: false,
        user_name: None,
    }
}

#[tokio::test]
async fn what_a_configuration_does_not_know_is_left_for_a_day_to_the_daemons_that_may() {
    let database = database!();
    let site = Site::on(&database.url, NEVER).await;
    let journal: Arc<dyn Journal> = store::open_for(&site.url, Access::Write).await.expect("the store opens");
    let now = Utc::now();
    let (fresh, old) = (now - TimeDelta::hours(20), now - TimeDelta::days(2));
    let entries = [
        waiting("bitbucket", "fresh", fresh),
        waiting("bitbucket", "old", old),
        waiting("confluence", "fresh", fresh),
        waiting("confluence", "old", old),
    ];
    journal.enqueue(&entries).await.expect("queued");
    let notice = |hook: &str, at| {
        let event = Event::Recovered { system: "jira".into(), since: at };
        Notice { hook: hook.to_owned(), event, at }
    };
    journal.post(&[notice("fresh", fresh), notice("old", old)]).await.expect("posted");
    // Not yet, or no longer: the job has lost one target here, only observes another, and there are no webhooks.
    let change = |text: String| {
        let text = text.replace("[\"jira\", \"confluence\", \"bitbucket\"]", "[\"jira\", \"confluence\"]");
        text.replace(NEVER, "schedule = \"hourly\"\nobserve = [\"confluence\"]")
    };
    let daemon = Daemon::start(&mut another(&site, "early.toml", change));
    daemon.line("is ready").await;
    let left = async || -> Vec<String> {
        let retries = journal.retries().await.expect("retries");
        let mut left: Vec<String> = retries.iter().map(|r| format!("{} {:?}", r.target, r.subject)).collect();
        let notes = journal.notes_due(Utc::now()).await.expect("notes");
        left.extend(notes.into_iter().map(|note| note.notice.hook));
        left.sort();
        left
    };
    let expected = |when: &[&str]| {
        let user = |when: &str| format!("{:?}", Subject::User(when.into()));
        let mut all: Vec<String> = Vec::new();
        for when in when {
            all.extend([format!("bitbucket {}", user(when)), format!("confluence {}", user(when)), (*when).to_owned()]);
        }
        all.sort();
        all
    };
    until_told("the old ones to be gone", async || {
        let left = left().await;
        if left == expected(&["fresh"]) { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    daemon.stop().await;
    assert_eq!(left().await, expected(&["fresh"]));
    assert_eq!(site.writes(), 0);
}

#[tokio::test]
async fn who_is_at_work_is_told_by_status() {
    let database = database!();
    let site = Site::on(&database.url, NEVER).await;
    site.latency(Duration::from_millis(300));
    let mut first = Daemon::start(&mut site.command(&["sync"]));
    until_true("changes", || site.writes() > 0).await;
    let said = site.run(&["status"]).await;
    assert!(said.out.contains(&format!("(process {} on ", first.pid())), "{said:?}");
    let json = site.run(&["status", "--json"]).await.json();
    let targets = json["targets"].as_array().expect("a list");
    assert!(targets.iter().any(|t| t["at_work"].as_str().is_some_and(|p| p.starts_with("process "))), "{json}");
    first.signal("TERM");
    first.ends().await;
}

fn sqlite(site: &Site, name: &str) -> String {
    format!("sqlite:{}", site.folder.path().join(name).display())
}

async fn holds(site: &Site, url: &str) -> String {
    let said = site.command(&["journal", "verify", "--json"]).env("ROSTERD__DAEMON__STATE", url).output().await.expect("runs");
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).expect("UTF-8")
}

#[tokio::test]
async fn the_state_is_copied_to_a_server_and_back() {
    let database: Database = database!();
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    site.lay_off(3);
    site.run(&["sync"]).await;
    let original = site.url.clone();
    let copied = site.run(&["state", "copy", &original, &database.url]).await.exits(0);
    assert!(copied.out.contains("rows; the chain of both ends at"), "{copied:?}");
    // What is to be written goes to the copy alone from now on.
    for refused in [&["state", "copy", &original, &sqlite(&site, "other.db")][..], &["sync"], &["run"]] {
        let said = site.run(refused).await.exits(1);
        assert!(said.err.contains("was copied to postgres://") && said.err.contains("state reopen"), "{said:?}");
    }
    site.run(&["status"]).await.exits(0);
    let back = sqlite(&site, "back.db");
    site.run(&["state", "copy", &database.url, &back]).await.exits(0);
    assert_eq!(holds(&site, &original).await, holds(&site, &database.url).await);
    assert_eq!(holds(&site, &original).await, holds(&site, &back).await);
    for url in [&database.url, &back] {
        let export = |url: &str| site.command(&["journal", "export"]).env("ROSTERD__DAEMON__STATE", url).output();
        let (one, two) = (export(&original).await.expect("runs"), export(url).await.expect("runs"));
        assert!(one.status.success() && !one.stdout.is_empty());
        assert_eq!(one.stdout, two.stdout);
    }
    // Work goes on where it was: numbers of before are not given again.
    let sync = async |url: &str| site.command(&["sync"]).env("ROSTERD__DAEMON__STATE", url).output().await.expect("runs");
    let said = sync(&back).await;
    assert!(String::from_utf8_lossy(&said.stdout).contains("jira"), "{said:?}");
    holds(&site, &back).await;
    assert_eq!(sync(&database.url).await.status.code(), Some(1), "it went on elsewhere");
    let said = site.run(&["state", "reopen", &database.url]).await.exits(0);
    assert!(said.out.contains("in use again; start no daemon on sqlite:"), "{said:?}");
    assert!(String::from_utf8_lossy(&sync(&database.url).await.stdout).contains("jira"));
    holds(&site, &database.url).await;
    let onto = site.run(&["state", "copy", &back, &database.url]).await.exits(1);
    assert!(onto.err.contains("is not empty"), "{onto:?}");

    let nothing = sqlite(&site, "nothing.db");
    let said = site.run(&["state", "copy", &nothing, &sqlite(&site, "other.db")]).await.exits(1);
    assert!(said.err.contains("there is no state at") && !site.folder.path().join("nothing.db").exists(), "{said:?}");
}

#[tokio::test]
async fn the_state_is_not_copied_while_a_daemon_is_there_that_has_nothing_to_do() {
    let site = Site::with(crate::site::small(), NEVER).await;
    let daemon = site.daemon().await;
    let copy = ["state", "copy", &site.url, &sqlite(&site, "copy.db")];
    let said = site.run(&copy).await.exits(69);
    assert!(said.err.contains(&format!("process {} on ", daemon.pid())) && said.err.contains("is at work (daemon/"), "{said:?}");
    daemon.stop().await;
    site.run(&copy).await.exits(0);
}

#[tokio::test]
async fn the_doctor_opens_a_database_by_its_password_and_tells_none() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = cluster.database();
    let url = format!("postgres://guarded@127.0.0.1:{}/{}", cluster.port(), database.name);
    let site = Site::on(&url, NEVER).await;
    site.put("state-password", PASSWORD);
    site.daemon_keys(&format!("state_password = {{ file = \"{}\" }}", site.folder.path().join("state-password").display()));
    site.run(&["sync"]).await.exits(0);
    let told = site.run(&["doctor", "--offline", "--out", "-"]).await.exits(0);
    assert!(told.out.contains("\"opens\": true") && !told.out.contains(PASSWORD), "{told:?}");
    // A configuration that is refused keeps it from nothing.
    site.daemon_keys("nonsense = 1");
    let told = site.run(&["doctor", "--offline", "--out", "-"]).await.exits(78);
    assert!(told.out.contains("\"opens\": true") && !told.out.contains(PASSWORD), "{told:?}");
    site.put("state-password", "Falsches");
    let told = site.run(&["doctor", "--offline", "--out", "-"]).await;
    assert!(told.out.contains("\"opens\": false") && !told.out.contains("Falsches"), "{told:?}");
}

#[tokio::test]
async fn the_state_is_not_copied_while_somebody_is_at_work() {
    let database = database!();
    let site = Site::on(&database.url, NEVER).await;
    site.latency(Duration::from_millis(300));
    let mut first = Daemon::start(&mut site.command(&["sync"]));
    until_true("changes", || site.writes() > 0).await;
    let said = site.run(&["state", "copy", &database.url, &sqlite(&site, "copy.db")]).await.exits(69);
    assert!(said.err.contains(&format!("process {} on ", first.pid())) && said.err.contains("is at work"), "{said:?}");
    first.signal("TERM");
    first.ends().await;
}
