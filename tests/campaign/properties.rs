//! Properties of single commands over random sites in fair weather: an undo brings back what a run changed, an explanation
//! says what the next run does, an approval lets nothing through but what was shown.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rosterd::contract::journal::{ChangeRecord, Intent, RunQuery, RunRecord, Staged, Trigger};
use rosterd::contract::verdict::{Decision, Verdict};
use rosterd::engine::decide::{Said, decide};
use rosterd::engine::explain::explain;
use rosterd::engine::run::{Report, World, plan, run};
use rosterd::engine::undo::{Request, undo};
use rosterd::model::change::OpKind;
use rosterd::model::key::{SourceKey, SystemName, TargetKey, fold, group_key};
use rosterd::model::plan::FindingKind;
use rosterd::reconcile::guard::Limit;
use rosterd::reconcile::pattern::NameSet;
use rosterd::reconcile::render::{ChangeView, line, view};
use tokio_util::sync::CancellationToken;

use crate::course::Site;
use crate::land::{Land, Manner};
use crate::orders;
use crate::script::Script;

async fn ran(world: &World) -> Vec<Report> {
    run(world, &[], Trigger::Command, &CancellationToken::new()).await.expect("the store works")
}

/// Tries a property in many sites that are in order, each with a day of changes before it.
fn in_sites(seeds: std::ops::Range<u64>, mut property: impl AsyncFnMut(&mut Site, &mut Rng)) {
    for seed in seeds {
        let script = Script::of(seed);
        let folder = crate::course::folder();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _told = Seed(seed);
        runtime.block_on(async {
            let mut site = Site::before_its_first_day(&script, folder.path()).await;
            site.policy = orders::open_policy();
            let world = site.world("one", site.journal.clone());
            for _ in 0..3 {
                ran(&world).await;
                site.passes(24);
            }
            let mut rng = Rng::with_seed(seed);
            site.nature.truth().day(&mut rng);
            property(&mut site, &mut rng).await;
        });
    }
}

/// Tells the seed of a site in which a property did not hold.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the property did not hold in the site of seed {}", self.0);
        }
    }
}

/// Whatever an undo can bring back of a land: accounts as far as the target tells of them, and who is in which group.
fn managed(land: &Land, except: &BTreeSet<TargetKey>) -> BTreeMap<String, String> {
    let told = land.manner == Manner::Flag || land.manner == Manner::Strip;
    let mut seen = BTreeMap::new();
    for (key, account) in land.accounts.iter().filter(|(key, _)| !except.contains(*key)) {
        let email = account.email.as_deref().filter(|_| told).unwrap_or_default();
        let active = land.manner == Manner::Strip || account.active;
        seen.insert(key.to_string(), format!("{} {email} {} {active}", account.name, account.display));
    }
    for (key, group) in &land.groups {
        let members: Vec<&TargetKey> = group.members.iter().filter(|member| !except.contains(*member)).collect();
        if !members.is_empty() {
            seen.insert(format!("group {key}"), format!("{members:?}"));
        }
    }
    seen
}

async fn last_run(site: &Site, at: usize) -> RunRecord {
    let query = RunQuery { target: Some(site.nature.lands[at].0.clone()), limit: 1, ..RunQuery::default() };
    site.journal.runs(&query).await.expect("the store works").remove(0)
}

#[test]
fn an_undo_brings_back_what_a_run_changed() {
    let mut compared = 0;
    in_sites(0..150, async |site, _| {
        let before: Vec<Land> = (0..3).map(|at| site.nature.land(at).clone()).collect();
        let world = site.world("one", site.journal.clone());
        ran(&world).await;
        for (at, side) in world.targets.iter().enumerate() {
            let record = last_run(site, at).await;
            let changes = site.journal.changes(&record.start.id).await.expect("the store works");
            if changes.is_empty() {
                continue;
            }
            let only = NameSet::none();
            let request = Request { run: &record, changes: &changes, only: &only, actor: "os:ops", over_limits: true };
            let stop = CancellationToken::new();
            let report = undo(&world, side, request, "a mistake", &stop).await.expect("the systems work").expect("nobody else");
            let after = site.nature.land(at).clone();
            // What is gone stays gone, what was made stays made; and an address that was not there cannot be written away.
            let no_email = |key: &TargetKey| before[at].accounts.get(key).is_some_and(|a| a.email.is_none());
            let all = before[at].accounts.keys().chain(after.accounts.keys());
            let lost =
                |key: &&TargetKey| !before[at].accounts.contains_key(*key) || !after.accounts.contains_key(*key) || no_email(key);
            let except: BTreeSet<TargetKey> = all.filter(lost).cloned().collect();
            assert_eq!(managed(&after, &except), managed(&before[at], &except), "{changes:#?} {:?}", report.record.end);
            compared += changes.len();
        }
    });
    assert!(compared > 200, "there was something to undo: {compared}");
}

#[test]
fn an_explanation_says_what_the_next_run_does() {
    let mut compared = 0;
    in_sites(1000..1100, async |site, _| {
        let world = site.world("one", site.journal.clone());
        let plans = plan(&world).await.expect("the source works");
        let keys: Vec<String> = site.nature.truth().people.keys().cloned().collect();
        let known = site.links_of_all().await;
        for key in keys.into_iter().map(|key| SourceKey::from(key.as_str())).chain(known).collect::<BTreeSet<_>>() {
            let told = explain(&world, &key).await.expect("the systems work");
            for (at, (side, (name, prepared))) in told.targets.iter().zip(&plans).enumerate() {
                assert_eq!((&side.target, &side.error), (name, &None));
                let Some(explained) = &side.plan else { continue };
                let whole = view(&prepared.as_ref().expect("the target works").judged);
                // Whether a group lies in a read-only directory is not asked for one user.
                let land = site.nature.land(at).clone();
                let open = |group: &String| land.groups.get(&group_key(group)).is_none_or(|group| group.writable);
                let of = |c: &&ChangeView| c.source.as_deref() == Some(key.as_str()) && c.group.as_ref().is_none_or(open);
                let judged = &prepared.as_ref().expect("the target works").judged;
                let is_claimed =
                    |f: &rosterd::model::plan::Finding| f.kind == FindingKind::Conflict && f.source.as_ref() == Some(&key);
                if side.proviso.is_some() && judged.admitted.plan().findings.iter().any(is_claimed) {
                    continue;
                }
                // A group's name in the target's own spelling is not asked for one user either.
                let told = |c: &ChangeView| fold(&line(c));
                let lines: Vec<String> = whole.changes.iter().filter(of).map(told).collect();
                let single: Vec<String> = explained.changes.iter().filter(of).map(told).collect();
                assert_eq!(single, lines, "{key} at {name}");
                compared += lines.len();
            }
        }
    });
    assert!(compared > 100, "there was something to explain: {compared}");
}

#[test]
fn an_approval_lets_nothing_through_but_what_was_shown() {
    let (mut approved, mut made) = (0, 0);
    in_sites(2000..2150, async |site, rng| {
        // Nothing may be removed without a person.
        let none = Limit { share: 0.0, floor: 0 };
        site.policy.deactivations = none;
        site.policy.membership_removals = none;
        for _ in 0..3 {
            site.nature.truth().day(rng);
        }
        let world = site.world("one", site.journal.clone());
        ran(&world).await;
        let staged = site.journal.staged().await.expect("the store works");
        let Some(shown) = staged.first().cloned() else { return };
        let only = NameSet::new(&[shown.user_name.replace(['[', ']', '*', '?', '{', '}', '\\'], "?")]).expect("a glob");
        let said = Said { verdict: Verdict::Approved, only: &only, actor: "os:ops", reason: "left", at: world.clock.now() };
        let written = decide(&*site.journal, shown.plan.as_str(), said, |_| std::time::Duration::from_secs(7 * 86_400)).await;
        let decisions = written.expect("it waits").decisions;
        let is_named = |s: &Staged| s.plan == shown.plan && fold(&s.user_name) == fold(&shown.user_name);
        let was_shown: BTreeSet<Removal> = staged.iter().filter(|s| is_named(s)).map(removal_shown).collect();
        assert_eq!(decisions.iter().map(removal_decided).collect::<BTreeSet<_>>(), was_shown, "of just these was it said");
        approved += decisions.len();
        site.passes(1);
        if rng.bool() {
            site.nature.truth().day(rng);
        }
        let world = site.world("one", site.journal.clone());
        for report in ran(&world).await {
            let changes = site.journal.changes(&report.record.start.id).await.expect("the store works");
            let target = &report.record.start.target;
            let removals: Vec<Removal> =
                changes.iter().filter(|c| c.intent.kind.removes()).map(|c| removal_made(target, c)).collect();
            for removal in &removals {
                assert!(was_shown.contains(removal), "{removal:?} was not shown: {was_shown:#?}");
            }
            assert_eq!(removals.iter().collect::<BTreeSet<_>>().len(), removals.len(), "each once: {removals:#?}");
            made += removals.len();
        }
        // Used once, it counts no more: whatever is to be removed again waits again.
        site.passes(1);
        for report in ran(&site.world("one", site.journal.clone())).await {
            let changes = site.journal.changes(&report.record.start.id).await.expect("the store works");
            let again: Vec<_> = changes.iter().filter(|c| c.intent.kind.removes()).collect();
            assert!(again.is_empty(), "{again:#?}");
        }
    });
    assert!(approved > 30, "there was something to approve: {approved}");
    assert!(made > 20, "and most of it was done: {made} of {approved}");
}

/// A removal, however it is told: what is done, where, to whom, and in which group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Removal {
    target: SystemName,
    kind: OpKind,
    source: Option<SourceKey>,
    user_name: String,
    group: Option<TargetKey>,
}

fn removal_shown(staged: &Staged) -> Removal {
    let Staged { target, kind, source, user_name, group, .. } = staged.clone();
    Removal { target, kind, source, user_name: fold(&user_name), group: group.as_deref().map(group_key) }
}

fn removal_decided(decision: &Decision) -> Removal {
    let Decision { target, kind, source, user_name, group, .. } = decision.clone();
    Removal { target, kind, source, user_name: fold(&user_name), group: group.as_deref().map(group_key) }
}

fn removal_made(target: &SystemName, change: &ChangeRecord) -> Removal {
    let Intent { kind, source, user_name, group, .. } = change.intent.clone();
    let (user_name, group) = (fold(&user_name.expect("a user")), group.as_deref().map(group_key));
    Removal { target: target.clone(), kind, source, user_name, group }
}
