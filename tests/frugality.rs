//! The fewest requests: what each road of each system costs, held against the formula of its documentation, and limits that are
//! kept without ever being run into.
//!
//! A formula is written out in each test, with the requests by which a system is probed as a constant of its own. A page too
//! much is a bug like any other: it is paid a hundred times a day by somebody else's server.

mod support;

use std::time::{Duration, Instant};

use rosterd_sim::estate::Options;
use rosterd_sim::gate::Rate;
use rosterd_sim::harness::Log;
use rosterd_sim::world::World;
use rosterd_sim::{jira, okta};
use support::{Scene, Setting, ended};

use rosterd::contract::journal::Ended;

/// So many people; the groups hold the first so many of them.
fn people(count: usize, groups: &[(&str, usize)]) -> World {
    let mut world = World { seed: 21, ..World::default() };
    let all: Vec<usize> = (0..count).map(|at| world.add_person("Pat", &format!("Number{at}"))).collect();
    for (name, size) in groups {
        world.add_group(name, &all[..*size]);
    }
    world
}

/// Pages of so many, and never none: that a list is empty is told by a page as well.
fn pages(rows: usize, size: usize) -> usize {
    rows.div_ceil(size).max(1)
}

fn requests(log: &Log) -> Vec<String> {
    log.all().iter().map(|s| format!("{} {} {}", s.status, s.method, s.target())).collect()
}

/// How many requests of these two sorts were sent: reads and writes.
fn reads_and_writes(log: &Log) -> (usize, usize) {
    let writes = log.writes().len();
    (log.len() - writes, writes)
}

async fn clear(scene: &Scene) {
    let estate = &scene.estate;
    for log in [&estate.okta.server.log, &estate.jira.running.log, &estate.confluence.running.log, &estate.bitbucket.running.log]
    {
        log.clear();
    }
}

// Okta.

const USERS_PAGE: usize = 200;
const GROUPS_PAGE: usize = 200;
const APP_USERS_PAGE: usize = 500;

async fn requests_of_a_reading(world: World, okta: &str, job: &str) -> (usize, Vec<String>) {
    let setting = Setting { okta: okta.to_owned(), job: job.to_owned(), ..Setting::default() };
    let scene = Scene::new(world, setting).await;
    let job = scene.job();
    job.source.fetch(&job.job.ask()).await.expect("it can be read");
    let log = &scene.estate.okta.server.log;
    (log.len(), requests(log))
}

#[tokio::test]
async fn the_whole_organisation_costs_a_page_of_users_each_two_hundred_and_the_pages_of_each_groups_members() {
    let sizes = [("everybody", 450), ("half", 225), ("few", 30), ("nobody", 0)];
    for members_page in [100, 200, 1000] {
        let extra = format!("members_page = {members_page}");
        let (sent, all) = requests_of_a_reading(people(450, &sizes), &extra, "").await;
        // ⌈N/200⌉ + ⌈G/200⌉ + Σ max(1, ⌈m/L⌉); "Everyone" takes no part and its members are not read.
        let members: usize = sizes.iter().map(|(_, m)| pages(*m, members_page)).sum();
        assert_eq!(sent, pages(450, USERS_PAGE) + pages(sizes.len() + 1, GROUPS_PAGE) + members, "{all:#?}");
        // The groups that Okta counts as empty cost nothing, if so configured.
        let extra = format!("members_page = {members_page}\nskip_empty_groups = true");
        let (skipping, all) = requests_of_a_reading(people(450, &sizes), &extra, "").await;
        assert_eq!(skipping, sent - 1, "{all:#?}");
    }
}

#[tokio::test]
async fn groups_that_the_job_leaves_out_cost_nothing() {
    let sizes = [("eng-a", 450), ("eng-b", 225), ("other-a", 450), ("other-b", 30)];
    let job = "[jobs.staff.groups]\ninclude = [\"eng-*\"]\n";
    let (sent, all) = requests_of_a_reading(people(450, &sizes), "members_page = 200", job).await;
    assert_eq!(sent, pages(450, USERS_PAGE) + pages(5, GROUPS_PAGE) + pages(450, 200) + pages(225, 200), "{all:#?}");
}

#[tokio::test]
async fn the_scope_of_an_app_costs_the_pages_of_its_users_and_groups_and_their_members() {
    let sizes = [("eng-a", 450), ("eng-b", 225), ("unassigned", 450)];
    let mut world = people(450, &sizes);
    world.groups[2].assigned = false;
    let extra = format!("app_id = \"{}\"\nmembers_page = 200", okta::Options::default().app_id);
    let (sent, all) = requests_of_a_reading(world, &extra, "").await;
    // ⌈A/500⌉ + ⌈AG/200⌉ + Σ over the assigned groups.
    assert_eq!(sent, pages(450, APP_USERS_PAGE) + pages(2, GROUPS_PAGE) + pages(450, 200) + pages(225, 200), "{all:#?}");
}

#[tokio::test]
async fn groups_alone_cost_no_page_of_users() {
    let sizes = [("eng-a", 450), ("eng-b", 225), ("other", 450)];
    let job = "[jobs.staff.groups]\ninclude = [\"eng-*\"]\n";
    let (sent, all) = requests_of_a_reading(people(450, &sizes), "users = \"groups\"\nmembers_page = 200", job).await;
    // ⌈G/200⌉ + Σ over the groups that the job names.
    assert_eq!(sent, pages(4, GROUPS_PAGE) + pages(450, 200) + pages(225, 200), "{all:#?}");
}

// The targets.

/// Version, identity, rights, seats.
const JIRA_PROBE: usize = 4;
/// Whether users can be listed: asked once in the life of a process, from 10.3 on.
const JIRA_ASKS_FOR_LIST: usize = 1;
/// When a token expires, which Jira and Confluence are asked once a day.
const ASKS_FOR_TOKENS: usize = 1;
/// Manifest, identity, the right to list users, the right to read members.
const CONFLUENCE_PROBE: usize = 4;
/// Version, identity, permissions of groups and of users, directories, the licence.
const BITBUCKET_PROBE: usize = 6;

const SIZES: [(&str, usize); 3] = [("everybody", 120), ("half", 60), ("few", 5)];

async fn settled(options: Options) -> Scene {
    let scene = Scene::new(people(120, &SIZES), Setting { options, ..Setting::default() }).await;
    scene.converge().await;
    clear(&scene).await;
    scene
}

fn members(page: usize) -> usize {
    SIZES.iter().map(|(_, m)| pages(*m, page)).sum()
}

/// The reads of a run that finds nothing to do, and demands that it does find nothing.
async fn converged(scene: &Scene, log: &Log) -> usize {
    clear(scene).await;
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Converged, "{:?}", report.record.end);
    }
    let (reads, writes) = reads_and_writes(log);
    assert_eq!(writes, 0);
    reads
}

fn versioned(version: &str) -> Options {
    Options { jira: jira::Options { version: version.to_owned(), ..jira::Options::default() }, ..Options::default() }
}

#[tokio::test]
async fn a_run_at_jira_costs_the_picker_and_the_pages_of_each_groups_members() {
    for version in ["11.0.0", "10.3.24", "10.0.1", "9.12.5"] {
        let scene = settled(versioned(version)).await;
        let log = &scene.estate.jira.running.log;
        // 1 for the picker, ⌈m/50⌉ for each managed group, and one page of jira-administrators for the guard of the last
        // administrators. Everybody is in a group, so nobody is asked for alone.
        let expected = JIRA_PROBE + 1 + members(50) + 1;
        assert_eq!(converged(&scene, log).await, expected, "{version}: {:#?}", requests(log));
        assert_eq!(converged(&scene, log).await, expected, "{version}: the same again");
    }
}

/// Lets so many join at the source who are in no group, and returns reads and writes of the run at Jira.
async fn joiners_at_jira(scene: &Scene, joiners: usize) -> (usize, usize) {
    for number in 0..joiners {
        let mut world = World::default();
        world.add_person("Jo", &format!("Iner{number}"));
        let mut person = world.people.remove(0);
        person.id = String::new();
        scene.estate.okta.add_user(person);
    }
    clear(scene).await;
    let end = scene.run_for("jira").await;
    assert_eq!(end.ended, Ended::Applied, "{end:?}");
    reads_and_writes(&scene.estate.jira.running.log)
}

#[tokio::test]
async fn joiners_at_a_jira_that_lists_users_cost_one_page_of_two_thousand() {
    for version in ["11.0.0", "10.3.24"] {
        let scene = settled(versioned(version)).await;
        // A listing proves an absence only if it shows that inactive users are in it.
        let inactive = |d: &mut rosterd_sim::directory::Directory| {
            d.add_user("gone.long.ago", "gone@example.com", "Gone").expect("is new");
            d.set_active("gone.long.ago", false).expect("is there");
        };
        inactive(&mut scene.estate.jira.directory());
        let (reads, writes) = joiners_at_jira(&scene, 7).await;
        let all = requests(&scene.estate.jira.running.log);
        assert_eq!((reads, writes), (JIRA_PROBE + 1 + members(50) + 1 + 1, 7), "{version}: {all:#?}");
    }
}

#[tokio::test]
async fn joiners_at_a_jira_that_does_not_list_users_cost_one_request_each() {
    let scene = settled(versioned("10.0.1")).await;
    let (reads, writes) = joiners_at_jira(&scene, 7).await;
    let all = requests(&scene.estate.jira.running.log);
    assert_eq!((reads, writes), (JIRA_PROBE + 1 + members(50) + 1 + 7, 7), "{all:#?}");
    // Up to 9 a search finds a thousand at once. Whom it does not show is asked for all the same.
    let scene = settled(versioned("9.12.5")).await;
    let (reads, writes) = joiners_at_jira(&scene, 7).await;
    let all = requests(&scene.estate.jira.running.log);
    assert_eq!((reads, writes), (JIRA_PROBE + 1 + members(50) + 1 + 1 + 7, 7), "{all:#?}");
}

#[tokio::test]
async fn a_run_at_confluence_costs_the_list_of_groups_and_the_pages_of_each_groups_members() {
    let scene = settled(Options::default()).await;
    let log = &scene.estate.confluence.running.log;
    // ⌈G/200⌉ + Σ max(1, ⌈m/200⌉) over the managed groups and the administrators.
    let expected = CONFLUENCE_PROBE + 1 + members(200) + 1;
    assert_eq!(converged(&scene, log).await, expected, "{:#?}", requests(log));
    assert_eq!(converged(&scene, log).await, expected, "the same again");
}

#[tokio::test]
async fn a_run_at_bitbucket_costs_the_list_of_groups_and_the_pages_of_each_groups_members() {
    let scene = settled(Options::default()).await;
    let log = &scene.estate.bitbucket.running.log;
    // ⌈G/1000⌉ + Σ max(1, ⌈m/1000⌉) over the managed groups, and the two groups that give access.
    let expected = BITBUCKET_PROBE + 1 + members(1000) + 2;
    assert_eq!(converged(&scene, log).await, expected, "{:#?}", requests(log));
    assert_eq!(converged(&scene, log).await, expected, "the same again");
}

#[tokio::test]
async fn a_first_run_writes_no_more_than_the_products_demand() {
    let scene = Scene::plain(people(120, &SIZES)).await;
    scene.run().await;
    let memberships: usize = SIZES.iter().map(|(_, m)| m).sum();
    let (users, groups) = (120, SIZES.len());
    let estate = &scene.estate;
    let jira = reads_and_writes(&estate.jira.running.log);
    // One call for each user, group and membership. Before them the wanted names and groups are looked for.
    assert_eq!(jira.1, users + groups + memberships);
    let looked = JIRA_PROBE + JIRA_ASKS_FOR_LIST + ASKS_FOR_TOKENS + 1 + groups + 1;
    // One page of the list, which proves nothing where it shows no inactive user, and then each of them alone.
    assert_eq!(jira.0, looked + 1 + users, "{:#?}", &requests(&estate.jira.running.log)[..20]);
    assert_eq!(reads_and_writes(&estate.confluence.running.log).1, users + groups + memberships);
    // Bitbucket takes a hundred members in one call.
    let bulk: usize = SIZES.iter().map(|(_, m)| pages(*m, 100)).sum();
    let adds = estate.bitbucket.running.log.count("POST", "/admin/groups/add-users");
    assert_eq!(adds, bulk);
    assert_eq!(reads_and_writes(&estate.bitbucket.running.log).1, users + groups + bulk);
}

#[tokio::test]
async fn the_source_is_read_once_for_all_targets() {
    let scene = settled(Options::default()).await;
    let log = &scene.estate.okta.server.log;
    let expected = pages(120, USERS_PAGE) + pages(SIZES.len() + 1, GROUPS_PAGE) + members(1000);
    assert_eq!(converged(&scene, log).await, expected, "{:#?}", requests(log));
}

#[tokio::test]
async fn one_leaver_costs_the_source_two_questions_however_many_targets_ask() {
    let scene = settled(Options::default()).await;
    scene.estate.okta.deactivate("pat.number7@example.com");
    clear(&scene).await;
    scene.run().await;
    let log = &scene.estate.okta.server.log;
    let reading = pages(119, USERS_PAGE) + pages(SIZES.len() + 1, GROUPS_PAGE) + members(1000);
    // The user, and the user's groups.
    assert_eq!(log.len(), reading + 2, "{:#?}", requests(log));
}

// Limits.

/// Watches the requests of one path as they come in, and tells how many came in each burst. Between two bursts lies more
/// than a second: a window's end is awaited with a second's margin.
async fn bursts(log: &Log, path: &str, mut over: tokio::sync::oneshot::Receiver<()>) -> Vec<usize> {
    let mut bursts = Vec::new();
    let (mut seen, mut last) = (0, None::<Instant>);
    let mut watching = true;
    while watching {
        // One last look after it is over.
        watching = over.try_recv().is_err();
        let now = log.all().iter().filter(|s| s.path == path).count();
        if now > seen {
            if last.is_none_or(|last| last.elapsed() > Duration::from_millis(1200)) {
                bursts.push(0);
            }
            *bursts.last_mut().expect("there is one") += now - seen;
            (seen, last) = (now, Some(Instant::now()));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bursts
}

#[tokio::test]
async fn the_share_of_oktas_limits_is_kept_and_none_is_run_into() {
    let window = Duration::from_secs(2);
    let scene = Scene::new(
        people(200, &[("everybody", 10)]),
        Setting { okta: "http = { rate_share = 0.5 }".into(), ..Setting::default() },
    )
    .await;
    let okta = &scene.estate.okta;
    okta.quirks(|q| q.page_cap = Some(5));
    okta.window(window);
    okta.limit("users", 28);
    let (tell, over) = tokio::sync::oneshot::channel();
    let job = scene.job();
    let ask = job.job.ask();
    let reading = async {
        let begun = Instant::now();
        job.source.fetch(&ask).await.expect("it can be read");
        tell.send(()).expect("somebody listens");
        begun.elapsed()
    };
    let (took, bursts) = tokio::join!(reading, bursts(&okta.server.log, "/api/v1/users", over));
    // 40 pages, of which 14 fit into half of each window: three windows, of which two must pass.
    assert_eq!(okta.refused(), 0, "no request while the bucket is known to be empty");
    assert!(bursts.iter().all(|n| *n <= 14), "half of 28 and no more: {bursts:?}");
    assert_eq!(bursts.iter().sum::<usize>(), 40);
    assert_eq!(bursts.len(), 3, "{bursts:?}");
    // A window's end is told in whole seconds by a clock that is read in whole seconds, so that each costs up to two seconds
    // more: a thirtieth of Okta's windows of a minute.
    let most = (window + Duration::from_secs(2)) * 2 + Duration::from_secs(6);
    assert!(took <= most, "took {took:?} where {most:?} are enough");
    assert!(okta.server.log.most_in_flight() <= 4, "{} at once", okta.server.log.most_in_flight());
}

#[tokio::test]
async fn the_share_of_the_targets_limits_is_kept_and_none_is_run_into() {
    let scene = Scene::plain(people(40, &[("everybody", 40)])).await;
    let rate = Rate { capacity: 30, fill: 30, interval: Duration::from_secs(1), headers: true };
    let estate = &scene.estate;
    for gate in [&estate.jira.gate, &estate.confluence.gate, &estate.bitbucket.gate] {
        gate.set_rate(Some(rate));
    }
    scene.converge().await;
    for log in [&estate.jira.running.log, &estate.confluence.running.log, &estate.bitbucket.running.log] {
        assert_eq!(log.all().iter().filter(|s| s.status == 429).count(), 0);
        assert!(log.most_in_flight() <= 4, "{} at once", log.most_in_flight());
    }
}
