//! Grace: a leaver's access ends only after the source has wanted it so for a while.

use chrono::TimeDelta;
use rosterd::contract::journal::Ended;

use super::team::{applied, team_under};
use crate::support::{Scene, TARGETS, ended};

const EVE: &str = "eve.ito@example.com";
const TWO_DAYS: &str = "[jobs.staff.leavers]\ngrace = \"2d\"\ndisabled = \"deactivate\"\ndeleted = \"deactivate\"";

async fn nothing_happens(scene: &Scene) {
    scene.hush();
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Converged, "{:?}", report.record.end);
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}");
    }
}

/// Nothing happens to Eve for two days, and then she loses her access.
async fn leaves_after_two_days(scene: &Scene) {
    nothing_happens(scene).await;
    scene.clock.advance(TimeDelta::hours(47));
    nothing_happens(scene).await;
    scene.clock.advance(TimeDelta::hours(2));
    applied(scene).await;
    for target in TARGETS {
        assert!(!scene.works(target, "eve.ito"), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn a_leaver_keeps_access_until_the_grace_is_over() {
    let scene = team_under(TWO_DAYS).await;
    scene.estate.okta.suspend(EVE);
    leaves_after_two_days(&scene).await;
}

#[tokio::test]
async fn a_deleted_user_has_the_same_grace() {
    let scene = team_under(TWO_DAYS).await;
    scene.estate.okta.delete_user(EVE);
    leaves_after_two_days(&scene).await;
}

#[tokio::test]
async fn a_return_within_the_grace_is_no_change_and_starts_it_anew() {
    let scene = team_under(TWO_DAYS).await;
    let okta = &scene.estate.okta;
    okta.suspend(EVE);
    nothing_happens(&scene).await;
    scene.clock.advance(TimeDelta::hours(24));
    okta.activate(EVE);
    nothing_happens(&scene).await;
    scene.clock.advance(TimeDelta::hours(48));
    okta.suspend(EVE);
    nothing_happens(&scene).await;
    scene.clock.advance(TimeDelta::hours(47));
    nothing_happens(&scene).await;
    scene.at_rest().await;
}

#[tokio::test]
async fn a_return_with_another_address_starts_the_grace_anew_as_well() {
    let scene = team_under(TWO_DAYS).await;
    let okta = &scene.estate.okta;
    okta.suspend(EVE);
    nothing_happens(&scene).await;
    scene.clock.advance(TimeDelta::hours(24));
    okta.activate(EVE);
    okta.set_email(EVE, Some("eve@returned.example.com"));
    applied(&scene).await;
    okta.suspend(EVE);
    scene.clock.advance(TimeDelta::hours(47));
    nothing_happens(&scene).await;
    scene.at_rest().await;
}

#[tokio::test]
async fn an_account_that_was_made_inactive_is_deleted_later_and_not_if_its_user_is_back() {
    let scene = team_under("[jobs.staff.leavers]\ndisabled = \"deactivate\"\ndelete_after = \"30d\"").await;
    let okta = &scene.estate.okta;
    let dan = "dan.ng@example.com";
    [EVE, dan].into_iter().for_each(|login| okta.suspend(login));
    applied(&scene).await;
    scene.clock.advance(TimeDelta::days(29));
    okta.activate(dan);
    applied(&scene).await;
    let keys = TARGETS.map(|target| scene.key(target, "eve.ito"));
    assert!(keys.iter().all(Option::is_some), "{keys:?}");
    scene.clock.advance(TimeDelta::days(2));
    applied(&scene).await;
    for target in TARGETS {
        assert_eq!(scene.key(target, "eve.ito"), None, "{target}");
        assert!(scene.works(target, "dan.ng"), "{target}: a return begins anew");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn whoever_was_kept_for_long_and_is_made_inactive_now_is_deleted_only_after_the_whole_time() {
    let rules = "[jobs.staff.users]\nfilter = 'profile.userType != \"contractor\"'
[jobs.staff.leavers]\nout_of_scope = \"keep\"\ndisabled = \"deactivate\"\ndelete_after = \"30d\"";
    let scene = team_under(rules).await;
    let okta = &scene.estate.okta;
    okta.change_user(EVE, |p| p.user_type = "contractor".to_owned());
    scene.at_rest().await;
    scene.clock.advance(TimeDelta::days(40));
    scene.at_rest().await;
    okta.suspend(EVE);
    applied(&scene).await;
    scene.clock.advance(TimeDelta::days(29));
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.key(target, "eve.ito").is_some() && !scene.works(target, "eve.ito"), "{target}");
    }
    scene.clock.advance(TimeDelta::days(2));
    applied(&scene).await;
    assert_eq!(TARGETS.map(|target| scene.key(target, "eve.ito")), [None, None, None]);
}

#[tokio::test]
async fn whoever_no_listing_shows_any_more_is_deleted_in_time_too() {
    let scene = team_under("[jobs.staff.leavers]\ndisabled = \"deactivate\"\ndelete_after = \"30d\"").await;
    let okta = &scene.estate.okta;
    for group in ["staff", "sales"] {
        okta.remove_member(group, EVE);
    }
    okta.deactivate(EVE);
    scene.run().await;
    scene.at_rest().await;
    scene.clock.advance(TimeDelta::days(29));
    scene.at_rest().await;
    assert!(TARGETS.iter().all(|target| scene.key(target, "eve.ito").is_some()));
    scene.clock.advance(TimeDelta::days(2));
    applied(&scene).await;
    assert_eq!(TARGETS.map(|target| scene.key(target, "eve.ito")), [None, None, None]);
    scene.at_rest().await;
}
