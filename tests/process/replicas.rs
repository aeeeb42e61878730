//! Several daemons on one PostgreSQL: any may do any work, no two do the same, and what one fails to do another does.

use std::time::Duration;

use chrono::Utc;
use rosterd::contract::journal::{Outcome, Standing};
use rosterd_sim::postgres::{Cluster, Database, PASSWORD};

use crate::site::{Daemon, Site, until_true};

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
    let deadline = tokio::time::Instant::now() + crate::site::DEADLINE;
    loop {
        for standing in leases(site).await {
            let holder = daemons.iter().position(|d| standing.lease.holder.contains(&format!(":{}:", d.pid())));
            if let Some(holder) = holder.filter(|_| standing.lease.name.starts_with("target/")) {
                return holder;
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody is at work");
    }
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
    let mut runs = Vec::new();
    while runs.len() < 15 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        runs = journal.runs(&query).await.expect("readable");
    }
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
    let site = Site::on(&database.url, "schedule = \"hourly\"").await;
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
    standby.line("what another replica left undone is run here").await;
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
    while leases(&site).await.iter().any(|s| s.lease.holder.contains(&name) && held_by_a_run(&s.lease.name)) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for target in held.iter().filter_map(|name| name.strip_prefix("target/")) {
        let so_far = other.count(&["run converged", target]);
        other.nth(&["run converged", target], so_far + 1).await;
    }
    quiet(&site).await;
    as_undisturbed(&site, &reference).await;
    let writes = site.writes();
    paused.signal("CONT");
    let told = paused.line("run failed").await;
    assert!(told.contains("was lost"), "{told}");
    // It goes on as one of two.
    for daemon in daemons {
        daemon.stop().await;
    }
    // What it had in hand it may have finished, and begun nothing: most of its changes were still before it.
    assert!(site.writes() <= writes + IN_HAND, "{} writes on waking", site.writes() - writes);
    assert_eq!(site.picture(), reference.picture());
    site.run(&["journal", "verify"]).await.exits(0);
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
    assert_eq!(site.picture(), reference.picture());
    site.run(&["journal", "verify"]).await.exits(0);
}

#[tokio::test]
async fn who_is_at_work_is_told_by_status() {
    let database = database!();
    let site = Site::on(&database.url, "schedule = \"hourly\"").await;
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
    let site = Site::with(crate::site::small(), "schedule = \"hourly\"").await;
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
    let site = Site::on(&url, "schedule = \"hourly\"").await;
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
    let site = Site::on(&database.url, "schedule = \"hourly\"").await;
    site.latency(Duration::from_millis(300));
    let mut first = Daemon::start(&mut site.command(&["sync"]));
    until_true("changes", || site.writes() > 0).await;
    let said = site.run(&["state", "copy", &database.url, &sqlite(&site, "copy.db")]).await.exits(69);
    assert!(said.err.contains(&format!("process {} on ", first.pid())) && said.err.contains("is at work"), "{said:?}");
    first.signal("TERM");
    first.ends().await;
}
