//! Recordings: what a plan was made of is kept, gives the very same plan again where nothing can be reached, and with other
//! rules the plan that these rules would make.

use std::collections::BTreeMap;
use std::io::Read;

use rosterd::contract::clock::Clock;
use rosterd::contract::target::Nature;
use rosterd::contract::verdict::Verdict;
use rosterd::daemon::assemble::natures;
use rosterd::engine::decide::{Said, decide};
use rosterd::engine::recording::pseudonyms::disguise;
use rosterd::engine::recording::replay::{Replay, replay};
use rosterd::engine::recording::{Recording, Unreadable, read, record, write};
use rosterd::engine::undo::{Request, undo};
use rosterd::model::key::SystemName;
use rosterd::reconcile::pattern::NameSet;
use rosterd::reconcile::render::{PlanView, view};
use rosterd_sim::harness::{Fault, Rule};
use rosterd_sim::world::World;
use tokio_util::sync::CancellationToken;

use super::team::{at_work, crew, person, team_at_work};
use crate::support::{Scene, Setting, TARGETS};

fn kinds() -> BTreeMap<SystemName, String> {
    TARGETS.iter().map(|target| (SystemName::from(*target), (*target).to_owned())).collect()
}

fn their_natures() -> BTreeMap<SystemName, Nature> {
    natures(&kinds())
}

/// Records, by way of a file.
async fn recorded(scene: &Scene) -> Recording {
    let (recording, unread) = record(scene.job(), &kinds()).await.expect("the source can be read");
    assert!(unread.is_empty(), "{unread:?}");
    through_a_file(&recording)
}

fn through_a_file(recording: &Recording) -> Recording {
    let mut file = Vec::new();
    write(recording, &mut file).expect("memory is writable");
    read(&file[..]).unwrap_or_else(|e| panic!("{e}"))
}

async fn replayed(recording: &Recording, scene: &Scene) -> Replay {
    replay(recording, &scene.job().job, &their_natures()).await.expect("it is played")
}

fn views(replay: &Replay) -> Vec<PlanView> {
    replay.targets.iter().map(|target| view(&target.prepared.judged)).collect()
}

fn kept(recording: &Recording) -> Vec<PlanView> {
    recording.targets.iter().map(|target| target.plan.clone()).collect()
}

/// A world by a seed. Everybody has an address: the targets create nobody without one.
fn everybody_with_an_address(seed: u64) -> World {
    let mut world = World::seeded(seed, 30, 6, 60);
    for person in &mut world.people {
        person.email.get_or_insert_with(|| format!("{}@example.com", person.number));
    }
    world
}

/// A life of some days, by a seed.
fn live(scene: &Scene, seed: u64) {
    let okta = &scene.estate.okta;
    let world = okta.world();
    let working: Vec<_> = world.people.iter().filter(|p| p.status.works() && p.email.is_some()).map(|p| p.id.clone()).collect();
    let pick = |n: u64| working[(seed * 7 + n) as usize % working.len()].as_str();
    okta.suspend(pick(0));
    okta.deactivate(pick(1));
    okta.delete_user(pick(1));
    okta.rename_user(pick(2), &format!("somebody.else{seed}@example.com"));
    okta.set_email(pick(3), Some("other@example.com"));
    okta.add_user(person("Gina", "Park"));
    for group in &world.groups {
        if let Some(member) = group.members.first() {
            okta.remove_member(&group.id, &world.people[*member].id);
        }
    }
    let mut directory = scene.directory("jira");
    let _there = directory.add_group("by-hand");
}

#[tokio::test]
async fn a_recording_gives_the_very_same_plan_in_any_world() {
    for seed in 1..=4 {
        let scene = Scene::plain(everybody_with_an_address(seed)).await;
        let first = recorded(&scene).await;
        assert!(first.targets.iter().all(|target| !target.plan.changes.is_empty()));
        assert_eq!(views(&replayed(&first, &scene).await), kept(&first), "seed {seed}: the first run");
        scene.run().await;
        scene.run().await;
        live(&scene, seed);
        scene.hush();
        let later = recorded(&scene).await;
        assert_eq!(scene.writes(), Vec::<String>::new(), "a recording writes nothing");
        assert_eq!(kept(&later), scene.plan().await, "seed {seed}: it is the plan");
        let replayed = replayed(&later, &scene).await;
        assert_eq!(views(&replayed), kept(&later), "seed {seed}: after some life");
        assert!(replayed.unanswered.is_empty() && replayed.assumed.is_empty() && replayed.attributes.is_empty(), "{replayed:?}");
        assert!(replayed.targets.iter().all(|t| t.unread_users.is_empty() && t.unread_groups.is_empty()));
    }
}

#[tokio::test]
async fn other_rules_give_the_plan_that_they_would_make() {
    let mut scene = at_work(crew(20), Setting::default()).await;
    let okta = &scene.estate.okta;
    (0..3).for_each(|at| okta.suspend(&format!("p{at:02}.crew@example.com")));
    okta.delete_user("p03.crew@example.com");
    okta.remove_member("staff", "p04.crew@example.com");
    okta.add_user(person("Gina", "Park"));
    okta.add_member("staff", "gina.park@example.com");
    let recording = recorded(&scene).await;
    let plain = std::fs::read_to_string(scene.folder.path().join("rosterd.toml")).expect("it is there");
    for rules in [
        "[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 1 }",
        "[jobs.staff.guard]\nmembership_removals = { share = 0.0, floor = 0 }",
        "[jobs.staff.guard]\nprotect_users = [\"p00.*\"]",
        "[jobs.staff.guard]\nprotect_groups = [\"staff\"]",
        "[jobs.staff.guard]\nexpect = [{ group = \"staff\", at_least = 100 }]",
        "[jobs.staff.guard]\ncanaries = { users = [\"nobody@example.com\"] }",
        "[jobs.staff.guard]\nsource_band = 0.0",
        "[jobs.staff.leavers]\ndisabled = \"keep\"\ndeleted = \"remove_groups\"",
        "[jobs.staff.leavers]\ndisabled = \"delete\"",
        "[jobs.staff.leavers]\ngrace = \"2d\"",
        "[jobs.staff.users]\nexclude = [\"p1*\", \"gina*\"]",
        "[jobs.staff.users]\nfilter = \"login != 'p07.crew@example.com'\"",
        "[jobs.staff.users]\nmember_of = [\"staff\"]",
        "[jobs.staff.users.map]\ndisplay_name = \"last_name ~ ', ' ~ first_name\"",
        "[jobs.staff.groups]\nexclusive = [\"staff\"]",
        "[jobs.staff.groups]\ncreate_missing = false",
    ] {
        scene.reconfigure(|_| format!("{plain}\n{rules}\n"));
        let offline = replayed(&recording, &scene).await;
        // Bitbucket is asked for the groups of those who are to lose them all, where groups are protected: none was, before.
        let asked_anew = rules.contains("protect_groups");
        let stay: Vec<usize> = offline.targets.iter().map(|target| target.unread_accounts.len()).collect();
        assert_eq!(stay, if asked_anew { [0, 0, 4] } else { [0; 3] }, "{rules}");
        for (offline, online) in views(&offline).into_iter().zip(scene.plan().await) {
            if !(asked_anew && online.target == "bitbucket") {
                assert_eq!(offline, online, "{rules}");
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_read_is_named_and_not_taken_for_an_answer() {
    let mut scene = team_at_work().await;
    let recording = recorded(&scene).await;
    scene.reconfigure(|text| {
        format!(
            "{text}\n[jobs.staff.groups]\nmap = [{{ from = \"sales\", to = [\"sellers\"] }}]\n\
             [jobs.staff.users]\nfilter = \"profile.department == 'Engineering'\"\n[jobs.staff.users.map]\nusername = \"login | replace('ada', 'ida') | before('@')\"\n"
        )
    });
    let replayed = replayed(&recording, &scene).await;
    assert_eq!(replayed.attributes, ["department".to_owned()].into());
    for target in &replayed.targets {
        assert_eq!(target.unread_groups, ["sellers".to_owned()].into(), "{}", target.target);
    }
    scene.reconfigure(|text| text.replace("filter = \"profile.department == 'Engineering'\"", ""));
    let replayed = replay(&recording, &scene.job().job, &their_natures()).await.expect("it is played");
    for target in &replayed.targets {
        assert_eq!(target.unread_users, ["ida.lovelace".to_owned()].into(), "{}", target.target);
    }
    let some = through_a_file(&Recording { targets: Vec::new(), ..recording });
    scene.reconfigure(|text| text.replace("map = [", "include = [\"s*\"]\nmap = ["));
    assert!(!replay(&some, &scene.job().job, &their_natures()).await.expect("it is played").groups, "all groups were read");
    let narrow = recorded(&scene).await;
    scene.reconfigure(|text| text.replace("include = [\"s*\"]", ""));
    assert!(replay(&narrow, &scene.job().job, &their_natures()).await.expect("it is played").groups);
}

#[tokio::test]
async fn an_answer_that_was_none_is_none_again() {
    let mut scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.suspend("eve.ito@example.com");
    let silent = Rule::always("GET", &format!("/api/v1/users/{}", okta.user_id("eve.ito@example.com")), Fault::json(503, ""));
    okta.server.faults.add(silent);
    scene
        .reconfigure(|text| text.replacen("[sources.okta]\n", "[sources.okta]\nhttp = { max_wait = \"0s\", attempts = 1 }\n", 1));
    let recording = recorded(&scene).await;
    let withheld = |plans: &[PlanView]| plans.iter().flat_map(|p| &p.changes).filter(|c| c.verdict == "withheld").count();
    assert_eq!(withheld(&kept(&recording)), 3);
    assert_eq!(views(&replayed(&recording, &scene).await), kept(&recording));
}

#[tokio::test]
async fn what_people_decided_and_what_waits_is_recorded_too_and_survives_pseudonyms() {
    let scene = at_work(crew(20), Setting::default()).await;
    let okta = &scene.estate.okta;
    let leaving = |at: usize| format!("p{at:02}.crew@example.com");
    // One is undone, and held.
    okta.suspend(&leaving(9));
    let reports = scene.run().await;
    let run = reports.iter().find(|r| r.record.start.target.as_str() == "jira").expect("it ran").record.clone();
    let changes = scene.journal.changes(&run.start.id).await.expect("the store works");
    let request = Request { run: &run, changes: &changes, only: &NameSet::none(), actor: "os:ops", over_limits: false };
    let side = scene.job().targets.iter().find(|side| side.name.as_str() == "jira").expect("a target");
    undo(scene.job(), side, request, "a mistake", &CancellationToken::new()).await.expect("works").expect("free");
    // Eight wait; two are approved, one is rejected.
    (0..8).for_each(|at| okta.suspend(&leaving(at)));
    scene.run().await;
    let staged = scene.journal.staged().await.expect("the store works");
    let plan = staged.iter().find(|s| s.target.as_str() == "jira").expect("something waits").plan.to_string();
    for (verdict, only) in [(Verdict::Approved, &["p00.*", "p01.*"][..]), (Verdict::Rejected, &["p02.*"])] {
        let only = NameSet::new(only).expect("globs");
        let said = Said { verdict, only: &only, actor: "os:ops", reason: "they left", at: scene.clock.now() };
        decide(&*scene.journal, &plan, said, |_| std::time::Duration::from_secs(3600)).await.expect("it is decided");
    }
    // One is on the retry queue.
    okta.add_user(person("Gina", "Park"));
    okta.add_member("staff", "gina.park@example.com");
    scene.estate.jira.running.faults.add(Rule::always("POST", "/rest/api/2/user", Fault::json(503, "{}")));
    scene.run_for("confluence").await;
    let recording = recorded(&scene).await;
    assert_eq!(kept(&recording), scene.plan().await);
    assert_eq!(views(&replayed(&recording, &scene).await), kept(&recording));
    let masked = through_a_file(&disguise(&recording, &scene.job().job, &their_natures(), &[3; 32]).await.expect("played"));
    assert_eq!(views(&replayed(&masked, &scene).await), kept(&masked));
    for (real, masked) in kept(&recording).iter().zip(kept(&masked)) {
        assert_eq!(tally(real), tally(&masked), "{}", real.target);
    }
    nobody_is_named(&masked, &recording, "with decisions");
    let (masked, text) = (unpacked(&masked), unpacked(&recording));
    for word in ["os:ops", "a mistake", "they left", "gina", "park", "gina.park"] {
        assert!(has_word(&text, word), "{word:?} should be in the real one");
        assert!(!has_word(&masked, word), "{word:?} is in the recording");
    }
}

/// How many changes of a kind there are with each verdict, for each reason and by which guards, at which group.
fn tally(plan: &PlanView) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for change in &plan.changes {
        // A reason to withhold may name the user, or the failure.
        let withheld = change.withheld.is_some();
        let text =
            format!("{} {:?} {} {} {:?} {withheld}", change.op, change.group, change.because, change.verdict, change.held_by);
        *tally.entry(text).or_default() += 1;
    }
    plan.findings.iter().for_each(|finding| *tally.entry(format!("{:?}", finding.kind)).or_default() += 1);
    tally
}

#[tokio::test]
async fn with_pseudonyms_nobody_is_named_and_the_plan_is_of_the_same_shape() {
    for seed in 1..=3 {
        let mut world = everybody_with_an_address(seed);
        // Two people get one user name, and are set aside as pseudonyms as well.
        let login = world.people[0].login.split('@').next().expect("a part").to_uppercase();
        world.people[1].login = format!("{login}@elsewhere.example");
        let scene = Scene::plain(world).await;
        scene.run().await;
        live(&scene, seed);
        let recording = recorded(&scene).await;
        let masked = disguise(&recording, &scene.job().job, &their_natures(), &[seed as u8; 32]).await.expect("played");
        for (real, masked) in kept(&recording).iter().zip(kept(&masked)) {
            assert!(!masked.changes.is_empty());
            assert_eq!(tally(real), tally(&masked), "seed {seed}: {}", real.target);
        }
        assert_eq!(views(&replayed(&through_a_file(&masked), &scene).await), kept(&masked));
        nobody_is_named(&masked, &recording, &format!("seed {seed}"));
    }
}

/// An app that others have than before: the plan hangs on whom of the linked the source was asked about.
#[tokio::test]
async fn an_app_that_is_given_to_others_than_before_is_planned_for_again_as_it_was() {
    let mut world = crew(30);
    world.people.iter_mut().enumerate().for_each(|(at, person)| person.assigned = at < 20);
    world.groups.iter_mut().for_each(|group| group.assigned = false);
    let scene = at_work(world, Setting { okta: super::scope::APP.to_owned(), ..Setting::default() }).await;
    let okta = &scene.estate.okta;
    (0..20).for_each(|at| okta.unassign_user(&format!("p{at:02}.crew@example.com")));
    (20..30).for_each(|at| okta.assign_user(&format!("p{at:02}.crew@example.com")));
    // Of those who are asked about one is still there, whichever day it is: one of three neighbours is among them.
    let mut linked: Vec<String> = (0..20).map(|at| okta.user_id(&format!("p{at:02}.crew@example.com"))).collect();
    linked.sort_unstable();
    linked.drain(12..15);
    linked.iter().for_each(|user| okta.delete_user(user));
    let recording = recorded(&scene).await;
    assert_eq!(kept(&recording), scene.plan().await);
    assert_eq!(views(&replayed(&recording, &scene).await), kept(&recording));
    let masked = disguise(&recording, &scene.job().job, &their_natures(), &[7; 32]).await.expect("played");
    for (real, masked) in kept(&recording).iter().zip(kept(&masked)) {
        assert!(!masked.changes.is_empty());
        assert_eq!(tally(real), tally(&masked), "{}", real.target);
    }
}

/// What stands in a recording's file, in small letters.
fn unpacked(recording: &Recording) -> String {
    let mut packed = Vec::new();
    write(recording, &mut packed).expect("memory is writable");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("it is text");
    text.to_lowercase()
}

/// Whether a word stands in a text as a word of its own: short names are parts of others, and of hashes.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let beside = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        beside(text[..at].chars().next_back()) && beside(text[at + word.len()..].chars().next())
    })
}

/// Everything that is personal in a recording is not in the one with pseudonyms.
#[track_caller]
fn nobody_is_named(masked: &Recording, real: &Recording, what: &str) {
    let (masked, text) = (unpacked(masked), unpacked(real));
    let mut personal: Vec<String> = Vec::new();
    for person in &real.roster.users {
        personal.push(person.key.to_string());
        personal.push(person.login.to_string());
        personal.extend([&person.email, &person.first_name, &person.last_name].into_iter().flatten().map(ToString::to_string));
    }
    for target in &real.targets {
        // The program's own account has the program's name, which the first line tells.
        let accounts = target.roster.users.iter().filter(|user| target.can.acting_as.as_deref() != Some(&*user.name));
        personal.extend(accounts.map(|user| user.name.to_string()));
        personal.extend(target.memory.links.users.iter().map(|link| link.name.to_string()));
    }
    for word in personal.into_iter().map(|word| word.to_lowercase()) {
        assert!(has_word(&text, &word), "{what}: {word:?} should be in the real one");
        assert!(!has_word(&masked, &word), "{what}: {word:?} is in the recording");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_or_changed_is_no_recording() {
    let scene = team_at_work().await;
    let recording = recorded(&scene).await;
    let mut packed = Vec::new();
    write(&recording, &mut packed).expect("memory is writable");
    for kept in [packed.len() / 2, packed.len() - 9, packed.len() - 8, packed.len() - 1] {
        assert!(matches!(read(&packed[..kept]), Err(Unreadable::Cut)), "{kept} of {} bytes", packed.len());
    }
    // The last eight bytes are checksum and length of what is packed.
    for at in [packed.len() - 8, packed.len() - 1] {
        let mut other = packed.clone();
        other[at] ^= 1;
        assert!(matches!(read(&other[..]), Err(Unreadable::Io(_))), "the byte at {at} of {} is another", packed.len());
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("it is text");
    assert!(read(text.as_bytes()).is_ok(), "unpacked it is read as well");
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let read_text = |text: String| read(text.as_bytes()).map(drop);
    assert!(matches!(read_text(joined(&lines[..lines.len() - 1])), Err(Unreadable::Cut)));
    assert!(matches!(read_text(joined(&[&lines[..3], &lines[4..]].concat())), Err(Unreadable::Broken(_))));
    assert!(
        matches!(read_text(joined(&[&lines[..], &lines[1..2]].concat())), Err(Unreadable::Broken(_))),
        "it goes on after its end"
    );
    let other = text.replacen("\"format\":1", "\"format\":2", 1);
    assert!(matches!(read_text(other), Err(Unreadable::Format { format: 2 })));
    assert!(matches!(read_text("{}\n".to_owned()), Err(Unreadable::NoRecording)));
    assert!(matches!(read_text(String::new()), Err(Unreadable::NoRecording)));
    let astray = text.replacen("\"members\":[0", "\"members\":[4000000", 1);
    assert!(matches!(read_text(astray), Err(Unreadable::Broken(_))));
}
