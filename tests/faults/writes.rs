//! Writes of which nobody knows whether they took effect: every kind of write at every target, with the connection broken
//! before or after, an answer cut in its middle, or a gateway's page in its place.

use rosterd::contract::journal::Ended;
use rosterd_sim::harness::{Fault, Rule};

use crate::stage::*;
use crate::support::{Scene, end_of};

/// The kinds of writes: what happens at the source, and by which request each target is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    CreateGroup,
    CreateUser,
    AddMember,
    Update,
    Rename,
    RemoveMember,
    Deactivate,
    Activate,
}

const KINDS: [Kind; 8] = [
    Kind::CreateGroup,
    Kind::CreateUser,
    Kind::AddMember,
    Kind::Update,
    Kind::Rename,
    Kind::RemoveMember,
    Kind::Deactivate,
    Kind::Activate,
];

/// Makes it happen at the source.
fn happen(scene: &Scene, kind: Kind, number: usize) {
    let okta = &scene.estate.okta;
    let (anna, ben) = ("anna.mueller@example.com", "ben.stone@example.com");
    match kind {
        Kind::CreateGroup => {
            let group = format!("new-{number}");
            okta.add_group(&group, rosterd_sim::world::GroupKind::Okta);
            okta.add_member(&group, anna);
        }
        Kind::CreateUser => {
            okta.add_user(newcomer("New", &format!("Comer{number}")));
            okta.add_member("staff", &format!("new.comer{number}@example.com"));
        }
        Kind::AddMember => okta.add_member("ops", anna),
        Kind::Update => okta.change_user(ben, |p| p.first = format!("Ben{number}")),
        Kind::Rename => okta.rename_user(&okta.user_id_of("Gina"), &format!("gina.ruiz{number}@example.com")),
        Kind::RemoveMember => okta.remove_member("ops", anna),
        Kind::Deactivate => okta.deactivate("emil.hart@example.com"),
        Kind::Activate => okta.activate("emil.hart@example.com"),
    }
}

trait ByFirstName {
    fn user_id_of(&self, first: &str) -> String;
}

impl ByFirstName for rosterd_sim::okta::Okta {
    fn user_id_of(&self, first: &str) -> String {
        self.world().people.into_iter().find(|p| p.first == first).expect("is there").id
    }
}

/// The request by which a target is told; `None` where it is not, or not by one of its own.
fn request(at: At, kind: Kind) -> Option<(&'static str, &'static str)> {
    Some(match (at, kind) {
        (At::Jira, Kind::CreateGroup) => ("POST", "/rest/api/2/group"),
        (At::Jira, Kind::CreateUser) => ("POST", "/rest/api/2/user"),
        (At::Jira, Kind::AddMember) => ("POST", "/rest/api/2/group/user"),
        (At::Jira, Kind::Update | Kind::Rename | Kind::Deactivate | Kind::Activate) => ("PUT", "/rest/api/2/user"),
        (At::Jira, Kind::RemoveMember) => ("DELETE", "/rest/api/2/group/user"),
        (At::Confluence, Kind::CreateGroup) => ("POST", "/rest/api/admin/group"),
        (At::Confluence, Kind::CreateUser) => ("POST", "/rest/api/admin/user"),
        (At::Confluence, Kind::AddMember) => ("PUT", "/group/"),
        (At::Confluence, Kind::Update) => ("PUT", "/rest/api/admin/user/"),
        (At::Confluence, Kind::RemoveMember) => ("DELETE", "/group/"),
        (At::Confluence, Kind::Deactivate) => ("PUT", "/disable"),
        (At::Confluence, Kind::Activate) => ("PUT", "/enable"),
        (At::Bitbucket, Kind::CreateGroup) => ("POST", "/admin/groups?"),
        (At::Bitbucket, Kind::CreateUser) => ("POST", "/admin/users?"),
        (At::Bitbucket, Kind::AddMember | Kind::Activate) => ("POST", "/admin/groups/add-users"),
        (At::Bitbucket, Kind::Update) => ("PUT", "/admin/users"),
        (At::Bitbucket, Kind::Rename) => ("POST", "/admin/users/rename"),
        (At::Bitbucket, Kind::RemoveMember | Kind::Deactivate) => ("POST", "/admin/users/remove-group"),
        (At::Confluence, Kind::Rename) => return None,
    })
}

async fn every_kind_of_write_meets(fault: Fault, number: usize) {
    let scene = settled(staff()).await;
    for (step, kind) in KINDS.into_iter().enumerate() {
        happen(&scene, kind, number * 100 + step);
        let mut met = 0;
        for at in At::ALL {
            if let Some((method, path)) = request(at, kind) {
                at.faults(&scene).add(Rule::once(method, path, fault.clone()));
                met += 1;
            }
        }
        let before: usize = At::ALL.iter().map(|at| at.faults(&scene).hits()).sum();
        let reports = scene.run().await;
        let after: usize = At::ALL.iter().map(|at| at.faults(&scene).hits()).sum();
        assert_eq!(after - before, met, "{kind:?}: the fault was met at each target: {reports:#?}");
        for at in At::ALL {
            let end = end_of(&reports, at.name());
            let fine = matches!(end.ended, Ended::Applied | Ended::Partial | Ended::Converged);
            assert!(fine, "{kind:?} at {}: {end:?}", at.name());
        }
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_a_write_costs_nothing_but_time() {
    every_kind_of_write_meets(Fault::ResetBefore, 1).await;
}

#[tokio::test]
async fn a_connection_that_breaks_after_a_write_makes_nobody_twice() {
    every_kind_of_write_meets(Fault::ResetAfter, 2).await;
}

#[tokio::test]
async fn an_answer_to_a_write_that_is_cut_makes_nobody_twice() {
    every_kind_of_write_meets(Fault::Cut, 3).await;
}

#[tokio::test]
async fn a_login_page_with_200_is_no_success_of_a_write() {
    every_kind_of_write_meets(Fault::html(200, "<html>Log in</html>"), 4).await;
}

#[tokio::test]
async fn a_gateway_that_gives_up_on_a_write_costs_nothing_but_time() {
    every_kind_of_write_meets(Fault::html(504, "<html>Gateway timeout</html>"), 5).await;
}

#[tokio::test]
async fn a_write_that_took_effect_before_the_connection_broke_is_seen_to_have_done_so() {
    let scene = settled(staff()).await;
    happen(&scene, Kind::CreateGroup, 1);
    happen(&scene, Kind::CreateUser, 1);
    for at in At::ALL {
        for kind in [Kind::CreateGroup, Kind::CreateUser, Kind::AddMember] {
            let (method, path) = request(at, kind).expect("has one");
            at.faults(&scene).add(Rule::once(method, path, Fault::ResetAfter));
        }
    }
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("ended");
        assert_eq!((end.ended, end.failed), (Ended::Applied, 0), "{}: {end:?}", report.record.start.target);
    }
    for at in At::ALL {
        assert_eq!(disagreements(&scene, at).await, Vec::<String>::new(), "at {}", at.name());
    }
    heals(&scene).await;
}

#[tokio::test]
async fn a_list_that_is_gone_through_one_by_one_is_left_alone_like_any_other() {
    let scene = settled(crowd(40)).await;
    scene.estate.okta.add_group("later", rosterd_sim::world::GroupKind::Okta);
    (0..30).for_each(|at| scene.estate.okta.add_member("later", &format!("pat.number{at}@example.com")));
    let faults = &scene.estate.bitbucket.running.faults;
    faults.add(Rule::once("POST", "/admin/groups/add-users", Fault::json(400, "{}")));
    faults.add(Rule::always("POST", "/admin/groups/add-users", Fault::json(503, "{}")));
    scene.hush();
    let end = scene.run_for("bitbucket").await;
    assert_eq!(end.ended, Ended::Partial, "{end:?}");
    let asked = scene.log("bitbucket").count("POST", "/admin/groups/add-users");
    assert!((2..=8).contains(&asked), "the list, and a few of it: {asked}");
}
