//! What each road costs, and that none of them ends with less than everything.

use super::*;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::Target;
use crate::model::key::group_key;
use crate::model::roster::{TargetGroup, TargetRoster};

const V9: Version = Version(9, 12);
const V10: Version = Version(10, 4);
const V11: Version = Version(11, 3);

fn people(range: std::ops::Range<usize>) -> Vec<Value> {
    range.map(user_json).collect()
}

fn group<'a>(roster: &'a TargetRoster, name: &str) -> &'a TargetGroup {
    &roster.groups[roster.group(&group_key(name)).unwrap() as usize]
}

/// `user/list` over these people, at most 2000 a page.
fn list(server: &mut ServerGuard, people: Vec<Value>) -> Mock {
    get(server, "user/list", &[("maxResults", "2000")]).with_body_from_request(move |request| {
        let start = parameter(request, "cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let values: Vec<&Value> = people.iter().skip(start).take(2000).collect();
        let end = start + values.len();
        let next = format!("http://elsewhere.invalid/rest/api/2/user/list?cursor={end}");
        json!({"isLast": end >= people.len(), "nextCursor": end.to_string(), "nextPage": next, "maxResults": 2000, "values": values})
            .to_string()
            .into_bytes()
    })
}

async fn fetch_fails(jira: &Jira, wanted: &Wanted) -> ConnectorError {
    jira.fetch(wanted).await.unwrap_err()
}

#[tokio::test]
async fn by_list_a_reading_costs_the_picker_the_members_pages_and_the_pages_of_the_list() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng", "Empty", "other"]).create_async().await;
    members(&mut server, "eng", people(0..120)).expect(3).create_async().await;
    members(&mut server, "Empty", vec![]).expect(1).create_async().await;
    let listed = list(&mut server, people(0..4500)).expect(3).create_async().await;
    let jira = known(&server, V11, true, "road = \"list\"");

    let roster = jira.fetch(&wanted((0..4500).map(linked).collect(), &["eng", "empty"])).await.unwrap();

    listed.assert_async().await;
    assert_eq!(jira.api.meter().requests(), 1 + (3 + 1) + 3);
    assert_eq!((roster.users.len(), roster.groups.len()), (4500, 2));
    assert_eq!(group(&roster, "eng").members.len(), 120);
    assert_eq!(&*group(&roster, "empty").name, "Empty");
}

#[tokio::test]
async fn where_there_are_more_groups_than_were_asked_for_all_are_asked_for() {
    let mut server = mockito::Server::new_async().await;
    let all: Vec<Value> = (0..10_001).map(|n| json!({"name": format!("Group{n}")})).collect();
    for most in [10_000, 10_001] {
        let body = json!({"header": "", "total": all.len(), "groups": &all[..most]});
        get(&mut server, "groups/picker", &[("query", ""), ("maxResults", &most.to_string())])
            .with_body(body.to_string())
            .expect(1)
            .create_async()
            .await;
    }
    members(&mut server, "Group10000", people(0..1)).create_async().await;
    let jira = known(&server, V11, true, "");

    let roster = jira.fetch(&wanted(vec![], &["group10000"])).await.unwrap();

    assert_eq!(group(&roster, "group10000").members.len(), 1);
    assert_eq!(jira.api.meter().requests(), 2 + 1);
}

#[tokio::test]
async fn users_who_were_met_as_members_are_not_read_again() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng"]).create_async().await;
    members(&mut server, "eng", people(0..51)).create_async().await;
    let jira = known(&server, V11, true, "");
    let roster = jira.fetch(&wanted((0..51).map(linked).collect(), &["eng"])).await.unwrap();
    assert_eq!(jira.api.meter().requests(), 1 + 2);
    assert_eq!(roster.users.len(), 51);
}

#[tokio::test]
async fn a_listing_is_left_when_asking_for_the_rest_has_become_cheaper() {
    let mut server = mockito::Server::new_async().await;
    let listed = list(&mut server, people(0..9000)).expect(2).create_async().await;
    for name in ["ada", "grace"] {
        get(&mut server, "user", &[("username", name)]).with_status(404).with_body(NO_USER).expect(1).create_async().await;
    }
    let jira = known(&server, V11, true, "");
    let roster = jira.fetch(&wanted(vec![linked(7), named("ada"), named("grace")], &[])).await.unwrap();
    listed.assert_async().await;
    assert_eq!(jira.api.meter().requests(), 2 + 2);
    assert!(roster.user(&key(7)).is_some());
}

#[tokio::test]
async fn a_listing_without_a_single_inactive_user_proves_no_absence() {
    let mut server = mockito::Server::new_async().await;
    list(&mut server, people(0..3)).create_async().await;
    let mut left = user_json(8);
    left["active"] = json!(false);
    let asked = single(&mut server, &[("username", "USER8")], &left).expect(1).create_async().await;
    let jira = known(&server, V11, true, "");
    let roster = jira.fetch(&wanted(vec![named("user1"), named("USER8")], &[])).await.unwrap();
    asked.assert_async().await;
    assert!(!roster.users[roster.user(&key(8)).unwrap() as usize].active);
}

#[tokio::test]
async fn a_listing_with_inactive_users_proves_the_absence_of_a_name_and_a_lost_key_is_asked_for_all_the_same() {
    let mut server = mockito::Server::new_async().await;
    let mut all = people(0..3);
    all[2]["active"] = json!(false);
    list(&mut server, all).create_async().await;
    let by_key =
        get(&mut server, "user", &[("key", "JIRAUSER9")]).with_status(404).with_body(NO_USER).expect(1).create_async().await;
    let mut anew = user_json(77);
    anew["name"] = json!("user9");
    let by_name = single(&mut server, &[("username", "user9")], &anew).expect(1).create_async().await;
    let jira = known(&server, V11, true, "road = \"list\"");
    let roster = jira.fetch(&wanted(vec![named("nobody"), linked(9)], &[])).await.unwrap();
    by_key.assert_async().await;
    by_name.assert_async().await;
    assert_eq!(jira.api.meter().requests(), 3);
    assert!(roster.user(&key(77)).is_some(), "an account made anew is found under its name");
}

#[tokio::test]
async fn a_listing_that_repeats_its_cursor_or_names_no_next_page_is_not_whole() {
    for (cursor, second) in [(json!("17"), json!("17")), (json!(17), Value::Null), (json!("17"), json!(""))] {
        let mut server = mockito::Server::new_async().await;
        get(&mut server, "user/list", &[])
            .with_body_from_request(move |request| {
                let next = if parameter(request, "cursor").is_some() { &second } else { &cursor };
                json!({"isLast": false, "nextCursor": next, "values": [user_json(1)]}).to_string().into_bytes()
            })
            .create_async()
            .await;
        let jira = known(&server, V11, true, "road = \"list\"");
        assert_eq!(fetch_fails(&jira, &wanted(vec![], &[])).await.fault, Fault::Incomplete);
    }
}

#[tokio::test]
async fn a_forced_list_that_the_version_lacks_is_refused_with_the_way_out() {
    let server = mockito::Server::new_async().await;
    let error = fetch_fails(&known(&server, V10, false, "road = \"list\""), &wanted(vec![], &[])).await;
    assert_eq!(error.fault, Fault::Unsupported);
    assert!(error.hint.unwrap().contains("auto"));
}

#[tokio::test]
async fn by_groups_a_reading_costs_the_picker_the_members_pages_and_those_who_are_in_no_group() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng"]).create_async().await;
    members(&mut server, "eng", people(0..100)).expect(2).create_async().await;
    for number in 100..103 {
        let (key, user) = (format!("JIRAUSER{number}"), user_json(number));
        single(&mut server, &[("key", &key)], &user).expect(1).create_async().await;
    }
    let jira = known(&server, V11, true, "road = \"groups\"");
    let roster = jira.fetch(&wanted((0..103).map(linked).collect(), &["eng"])).await.unwrap();
    assert_eq!(jira.api.meter().requests(), 1 + 2 + 3);
    assert_eq!(roster.users.len(), 103);
}

#[tokio::test]
async fn on_jira_9_one_search_stands_in_for_many_single_readings() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng"]).create_async().await;
    members(&mut server, "eng", people(0..10)).create_async().await;
    let query =
        [("username", "."), ("includeActive", "true"), ("includeInactive", "true"), ("startAt", "0"), ("maxResults", "1000")];
    get(&mut server, "user/search", &query).with_body(json!(people(0..900)).to_string()).expect(1).create_async().await;
    let jira = known(&server, V9, false, "");
    let roster = jira.fetch(&wanted((0..900).map(linked).collect(), &["eng"])).await.unwrap();
    assert_eq!(jira.api.meter().requests(), 1 + 1 + 1);
    assert_eq!(roster.users.len(), 900);
}

#[tokio::test]
async fn a_capped_search_makes_nobody_missing() {
    let mut server = mockito::Server::new_async().await;
    get(&mut server, "user/search", &[]).with_body(json!(people(0..1000)).to_string()).expect(1).create_async().await;
    for number in 1000..1003 {
        let (key, user) = (format!("JIRAUSER{number}"), user_json(number));
        single(&mut server, &[("key", &key)], &user).expect(1).create_async().await;
    }
    let jira = known(&server, V9, false, "");
    let roster = jira.fetch(&wanted((0..1003).map(linked).collect(), &[])).await.unwrap();
    assert_eq!(jira.api.meter().requests(), 1 + 3);
    assert!((0..1003).all(|number| roster.user(&key(number)).is_some()));
}

#[tokio::test]
async fn jira_10_is_never_searched() {
    let mut server = mockito::Server::new_async().await;
    let search = get(&mut server, "user/search", &[]).with_body("[]").expect(0).create_async().await;
    for number in 0..12 {
        let (key, user) = (format!("JIRAUSER{number}"), user_json(number));
        single(&mut server, &[("key", &key)], &user).create_async().await;
    }
    let jira = known(&server, V10, false, "");
    assert_eq!(jira.fetch(&wanted((0..12).map(linked).collect(), &[])).await.unwrap().users.len(), 12);
    assert_eq!(jira.api.meter().requests(), 12);
    search.assert_async().await;
}

#[tokio::test]
async fn by_user_a_reading_costs_the_users_and_the_picker_and_knows_empty_groups() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng", "ops", "sec", "unmanaged"]).create_async().await;
    for number in 0..3 {
        let groups: &[&str] = if number == 0 { &["ENG", "unmanaged"] } else { &["eng", "ops"] };
        let (key, user) = (format!("JIRAUSER{number}"), with_groups(user_json(number), groups));
        single(&mut server, &[("key", &key), ("expand", "groups")], &user).expect(1).create_async().await;
    }
    let jira = known(&server, V10, false, "");
    let mut wanted = wanted((0..3).map(linked).collect(), &["eng", "ops", "sec"]);
    wanted.members_of_wanted_users_suffice = true;
    let roster = jira.fetch(&wanted).await.unwrap();
    assert_eq!(jira.api.meter().requests(), 3 + 1);
    assert_eq!(group(&roster, "eng").members, [0, 1, 2]);
    assert_eq!(group(&roster, "ops").members, [1, 2]);
    assert!(group(&roster, "sec").members.is_empty());
    assert!(roster.group(&group_key("unmanaged")).is_none());
}

#[tokio::test]
async fn where_all_members_are_needed_no_road_by_user_is_taken() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng", "ops"]).create_async().await;
    members(&mut server, "eng", people(0..2)).expect(1).create_async().await;
    members(&mut server, "ops", people(5..6)).expect(1).create_async().await;
    for road in ["", "road = \"users\""] {
        let jira = known(&server, V10, false, road);
        let roster = jira.fetch(&wanted(vec![linked(0)], &["eng", "ops"])).await.unwrap();
        assert_eq!(group(&roster, "eng").members.len(), 2, "a member whom nobody wants is a member");
        assert_eq!(group(&roster, "ops").members.len(), 1);
        server.reset();
        picker(&mut server, &["eng", "ops"]).create_async().await;
        members(&mut server, "eng", people(0..2)).create_async().await;
        members(&mut server, "ops", people(5..6)).create_async().await;
    }
}

#[tokio::test]
async fn groups_that_turn_out_large_are_left_for_the_road_by_user() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["all"]).create_async().await;
    members(&mut server, "all", people(0..1000)).expect(1).create_async().await;
    for number in 0..2 {
        let (key, user) = (format!("JIRAUSER{number}"), with_groups(user_json(number), &["all"]));
        single(&mut server, &[("key", &key), ("expand", "groups")], &user).expect(1).create_async().await;
    }
    let jira = known(&server, V11, true, "");
    let mut wanted = wanted(vec![linked(0), linked(1)], &["all"]);
    wanted.members_of_wanted_users_suffice = true;
    let roster = jira.fetch(&wanted).await.unwrap();
    assert_eq!(jira.api.meter().requests(), 1 + 1 + 2);
    assert_eq!(group(&roster, "all").members.len(), 2);
}

#[tokio::test]
async fn first_pages_that_were_read_are_not_read_again_when_the_road_by_groups_stays_the_cheaper_one() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng"]).create_async().await;
    let pages = members(&mut server, "eng", people(0..101)).expect(3).create_async().await;
    let jira = known(&server, V11, true, "");
    let mut wanted = wanted((0..101).map(linked).collect(), &["eng"]);
    wanted.members_of_wanted_users_suffice = true;
    assert_eq!(group(&jira.fetch(&wanted).await.unwrap(), "eng").members.len(), 101);
    pages.assert_async().await;
    assert_eq!(jira.api.meter().requests(), 1 + 3);
}

#[tokio::test]
async fn a_group_is_missing_only_if_jira_says_so() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng"]).create_async().await;
    no_group(&mut server, "gone").create_async().await;
    members(&mut server, "unshown", people(0..1)).create_async().await;
    let jira = known(&server, V11, true, "");
    let roster = jira.fetch(&wanted(vec![], &["gone", "unshown"])).await.unwrap();
    assert!(roster.group(&group_key("gone")).is_none());
    assert_eq!(group(&roster, "unshown").members.len(), 1);

    server.reset();
    picker(&mut server, &["eng"]).create_async().await;
    get(&mut server, "group/member", &[]).with_status(404).with_body("<html>dead link</html>").create_async().await;
    let error = fetch_fails(&jira, &wanted(vec![], &["gone"])).await;
    assert_eq!(error.fault, Fault::Malformed);
    assert!(error.hint.unwrap().contains("context path"));
}

#[tokio::test]
async fn a_picker_that_shows_less_than_it_announces_or_nothing_at_all_ends_the_reading() {
    for body in [json!({"total": 3, "groups": [{"name": "eng"}]}), json!({"total": 0, "groups": []})] {
        let mut server = mockito::Server::new_async().await;
        get(&mut server, "groups/picker", &[]).with_body(body.to_string()).create_async().await;
        let jira = known(&server, V11, true, "");
        assert_eq!(fetch_fails(&jira, &wanted(vec![], &["eng"])).await.fault, Fault::Incomplete);
    }
}

#[tokio::test]
async fn an_answer_to_an_anonymous_caller_is_a_refused_credential() {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng"]).with_header("X-AUSERNAME", "anonymous").create_async().await;
    let error = fetch_fails(&known(&server, V11, true, ""), &wanted(vec![], &["eng"])).await;
    assert_eq!(error.fault, Fault::Refused);
}

/// A page of three members, two of them on the first page, changed by `spoil`, which is told the start.
async fn reading_of(spoil: fn(&mut Value, usize)) -> Result<TargetRoster, ConnectorError> {
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng"]).create_async().await;
    get(&mut server, "group/member", &[])
        .with_body_from_request(move |request| {
            let start = number(request, "startAt");
            let values: Vec<Value> = people(start..(start + 2).min(3));
            let is_last = start + values.len() >= 3;
            let mut page = json!({"startAt": start, "maxResults": 2, "total": 3, "isLast": is_last, "values": values});
            spoil(&mut page, start);
            page.to_string().into_bytes()
        })
        .create_async()
        .await;
    known(&server, V11, true, "").fetch(&wanted(vec![], &["eng"])).await
}

#[tokio::test]
async fn pages_that_contradict_each_other_end_the_reading() {
    assert_eq!(group(&reading_of(|_, _| ()).await.unwrap(), "eng").members.len(), 3);
    let spoilers: [fn(&mut Value, usize); 8] = [
        |page, _| page["isLast"] = json!(true),
        |page, _| page["isLast"] = json!(false),
        |page, _| page["startAt"] = json!(0),
        |page, start| page["total"] = json!(3 + start),
        |page, _| page["total"] = json!(30),
        |page, _| page["values"] = json!([]),
        |page, _| page["values"] = json!([user_json(1), user_json(1)]),
        |page, start| {
            if start > 0 {
                page["values"] = json!([user_json(0)]);
            }
        },
    ];
    for (number, spoil) in spoilers.into_iter().enumerate() {
        let error = reading_of(spoil).await.unwrap_err();
        assert_eq!(error.fault, Fault::Incomplete, "spoiler {number}: {}", error.why);
    }
}

#[tokio::test]
async fn a_page_that_leaves_out_what_every_version_tells_is_malformed() {
    let spoilers: [fn(&mut Value, usize); 4] = [
        |page, _| drop(page.as_object_mut().unwrap().remove("total")),
        |page, _| drop(page.as_object_mut().unwrap().remove("isLast")),
        |page, _| drop(page["values"][0].as_object_mut().unwrap().remove("active")),
        |page, _| drop(page["values"][0].as_object_mut().unwrap().remove("key")),
    ];
    for spoil in spoilers {
        assert_eq!(reading_of(spoil).await.unwrap_err().fault, Fault::Malformed);
    }
}

#[tokio::test]
async fn a_group_that_changed_while_it_was_read_is_read_once_more() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &["eng"]).create_async().await;
    let asked = AtomicUsize::new(0);
    let pages = get(&mut server, "group/member", &[])
        .with_body_from_request(move |request| {
            // A member comes between the first page and the second.
            let people = people(0..if asked.fetch_add(1, Ordering::SeqCst) == 0 { 60 } else { 61 });
            member_page(&people, number(request, "startAt")).to_string().into_bytes()
        })
        .expect(4)
        .create_async()
        .await;
    let roster = known(&server, V11, true, "").fetch(&wanted(vec![], &["eng"])).await.unwrap();
    assert_eq!(group(&roster, "eng").members.len(), 61);
    pages.assert_async().await;
}

#[tokio::test]
async fn a_hidden_address_is_unknown_and_a_deleted_record_is_nobody() {
    let mut server = mockito::Server::new_async().await;
    let mut all = people(0..5);
    all[0].as_object_mut().unwrap().remove("emailAddress");
    all[1]["emailAddress"] = json!("");
    all[2]["emailAddress"] = json!("user2 at example dot com");
    all[3]["deleted"] = json!(true);
    all[4]["displayName"] = json!("");
    list(&mut server, all).create_async().await;
    let roster = known(&server, V11, true, "road = \"list\"").fetch(&wanted(vec![], &[])).await.unwrap();
    assert_eq!(roster.users.len(), 4);
    assert!(roster.users[..3].iter().all(|user| user.email.is_none()));
    assert_eq!(roster.users[3].email.as_deref(), Some("user4@example.com"));
    assert_eq!(roster.users[3].display_name, None);
}

#[tokio::test]
async fn odd_names_reach_jira_as_they_are() {
    let odd = "Team A/B + 50% \"C\" #1 & co? 🚀";
    let mut server = mockito::Server::new_async().await;
    picker(&mut server, &[odd]).create_async().await;
    members(&mut server, odd, people(0..1)).expect(1).create_async().await;
    let mut user = user_json(3);
    user["name"] = json!("ada+x/y z@example.com");
    single(&mut server, &[("username", "ada+x/y z@example.com")], &user).expect(1).create_async().await;
    let jira = known(&server, V11, true, "");
    let roster = jira.fetch(&wanted(vec![named("ada+x/y z@example.com")], &[odd])).await.unwrap();
    assert_eq!(&*group(&roster, odd).name, odd);
    assert!(roster.user(&key(3)).is_some());
}
