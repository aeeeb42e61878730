//! Each habit of Jira, shown once.

use super::*;
use crate::route::ask;

const TOKEN: (&str, &str) = ("authorization", "Bearer token-of-rosterd");

fn jira(version: &str) -> Instance {
    Instance::new(Options { version: version.to_owned(), ..Options::default() })
}

fn call(jira: &Instance, call: &str, body: &str) -> Answer {
    ask(jira, call, &[TOKEN, ("accept", "application/json")], body)
}

fn people(jira: &Instance, count: usize) {
    let mut directory = jira.directory();
    for n in 0..count {
        directory.add_user(&format!("u{n:05}"), &format!("u{n:05}@example.com"), &format!("Person {n}")).unwrap();
    }
}

#[test]
fn the_search_stops_at_1000_up_to_9_and_at_100_from_10_on() {
    for (version, cap) in [("9.12.4", 1000), ("10.0.0", 100), ("11.3.5", 100)] {
        let jira = jira(version);
        people(&jira, 1200);
        let mut seen = 0;
        for start in (0..2000).step_by(50) {
            let path = format!("GET /rest/api/2/user/search?username=.&includeInactive=true&startAt={start}&maxResults=50");
            seen += call(&jira, &path, "").value().as_array().unwrap().len();
        }
        assert_eq!(seen, cap, "{version}");
        let all = call(&jira, "GET /rest/api/2/user/search?username=.&maxResults=5000", "");
        assert_eq!(all.value().as_array().unwrap().len(), cap, "{version}");
    }
}

#[test]
fn the_search_matches_beginnings_of_words_and_hides_the_inactive_unless_asked() {
    let jira = jira("9.12.4");
    jira.directory().add_user("mary.ann", "mann@example.com", "Mary-Ann Smith").unwrap();
    let found = |query: &str| call(&jira, &format!("GET /rest/api/2/user/search?{query}"), "").value().as_array().unwrap().len();
    assert_eq!((found("username=ANN"), found("username=smi"), found("username=mann")), (1, 1, 1));
    assert_eq!((found("username=mith"), found("username=%25")), (0, 0));
    assert_eq!(call(&jira, "GET /rest/api/2/user/search?username=", "").status, 400);
    jira.directory().set_active("mary.ann", false).unwrap();
    assert_eq!((found("username=mary"), found("username=mary&includeInactive=true")), (0, 1));
    assert_eq!(found("username=mary&includeInactive=True"), 0);
}

#[test]
fn the_complete_list_exists_from_10_3_12_in_its_line_and_from_11() {
    for (version, status) in
        [("9.12.0", 404), ("10.0.0", 404), ("10.3.11", 404), ("10.3.12", 200), ("10.4.0", 404), ("11.0.0", 200)]
    {
        assert_eq!(call(&jira(version), "GET /rest/api/2/user/list", "").status, status, "{version}");
    }
}

#[test]
fn the_complete_list_is_walked_by_cursor_and_includes_the_inactive() {
    let jira = jira("11.0.0");
    people(&jira, 9);
    jira.directory().set_active("u00003", false).unwrap();
    let (mut cursor, mut names) = (String::new(), Vec::new());
    loop {
        let page = call(&jira, &format!("GET /rest/api/2/user/list?maxResults=5{cursor}"), "").value();
        names.extend(page["values"].as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap().to_owned()));
        if page["isLast"] == true {
            assert!(page.get("nextCursor").is_none());
            break;
        }
        cursor = format!("&cursor={}", page["nextCursor"].as_str().unwrap());
    }
    assert_eq!(names.len(), 10);
    assert!(names.contains(&"u00003".to_owned()));
    assert_eq!(call(&jira, "GET /rest/api/2/user/list?cursor=999999999", "").value()["values"], json!([]));
}

#[test]
fn members_come_50_a_page_without_the_inactive_and_with_links_to_another_host() {
    let jira = jira("10.3.24");
    people(&jira, 120);
    {
        let mut directory = jira.directory();
        directory.add_group("Devs").unwrap();
        for n in 0..120 {
            directory.join("devs", &format!("u{n:05}")).unwrap();
        }
        directory.set_active("u00000", false).unwrap();
    }
    let page = call(&jira, "GET /rest/api/2/group/member?groupname=devs&maxResults=1000", "").value();
    assert_eq!((page["values"].as_array().unwrap().len(), &page["maxResults"], &page["total"]), (50, &json!(50), &json!(119)));
    assert!(page["nextPage"].as_str().unwrap().starts_with("https://jira.example.com/rest/api/2/group/member?groupname=devs"));
    let last = call(&jira, "GET /rest/api/2/group/member?groupname=devs&includeInactiveUsers=true&startAt=100", "").value();
    assert_eq!((last["values"].as_array().unwrap().len(), &last["total"], &last["isLast"]), (20, &json!(120), &json!(true)));
    assert!(last.get("nextPage").is_none());
    assert_eq!(call(&jira, "GET /rest/api/2/group/member?groupname=nobody", "").status, 404);
    assert_eq!(call(&jira, "GET /rest/api/2/group/member?groupname=", "").status, 400);
}

#[test]
fn the_group_picker_shows_20_and_tells_the_total() {
    let jira = jira("10.3.24");
    for n in 0..40 {
        jira.directory().add_group(&format!("team-{n}")).unwrap();
    }
    let short = call(&jira, "GET /rest/api/2/groups/picker", "").value();
    assert_eq!((short["groups"].as_array().unwrap().len(), &short["total"]), (20, &json!(42)));
    assert_eq!(short["header"], "Showing 20 of 42 matching groups");
    let all = call(&jira, "GET /rest/api/2/groups/picker?maxResults=10000&query=TEAM", "").value();
    assert_eq!(all["groups"].as_array().unwrap().len(), 40);
    assert_eq!(all["groups"][0]["html"], "<b>team</b>-0");
}

#[test]
fn an_expired_credential_that_degrades_to_anonymous_sees_no_groups() {
    let jira = jira("10.3.24");
    jira.gate.revoke();
    assert_eq!(call(&jira, "GET /rest/api/2/groups/picker", "").status, 401);
    jira.gate.set_anonymous(true);
    let picker = call(&jira, "GET /rest/api/2/groups/picker", "");
    assert_eq!((picker.status, &picker.value()["total"]), (200, &json!(0)));
    assert_eq!(call(&jira, "GET /rest/api/2/myself", "").status, 401);
    assert_eq!(call(&jira, "GET /rest/api/2/serverInfo", "").status, 200);
}

#[test]
fn a_created_user_has_a_key_of_its_own_and_a_taken_name_is_refused() {
    let jira = jira("10.3.24");
    let body = r#"{"name":"Ann","emailAddress":"ann@example.com","displayName":"Ann A","applicationKeys":[]}"#;
    let made = call(&jira, "POST /rest/api/2/user", body);
    assert_eq!(made.status, 201);
    assert!(made.value()["key"].as_str().unwrap().starts_with("JIRAUSER"));
    assert!(jira.directory().group_names("ann").is_empty());
    let again = call(&jira, "POST /rest/api/2/user", &body.replace("Ann\"", "aNN\""));
    assert_eq!(again.status, 400);
    assert_eq!(again.value(), json!({"errorMessages": [], "errors": {"username": "A user with that username already exists."}}));
    assert_eq!(jira.directory().writes(), 1);
}

#[test]
fn without_application_keys_a_new_user_takes_a_seat() {
    let jira = jira("10.3.24");
    let body = |name: &str, more: &str| format!(r#"{{"name":"{name}","emailAddress":"a@example.com","displayName":"A"{more}}}"#);
    jira.directory().seats = Some(2);
    assert_eq!(call(&jira, "POST /rest/api/2/user", &body("a", "")).status, 201);
    assert!(jira.directory().is_member("jira-software-users", "a"));
    assert_eq!(call(&jira, "POST /rest/api/2/user", &body("b", "")).status, 400);
    assert_eq!(call(&jira, "POST /rest/api/2/user", &body("b", r#","applicationKeys":[]"#)).status, 201);
    assert_eq!(call(&jira, "POST /rest/api/2/group/user?groupname=jira-software-users", r#"{"name":"b"}"#).status, 400);
    assert_eq!(call(&jira, "PUT /rest/api/2/user?username=a", r#"{"active":false}"#).status, 200);
    assert_eq!(call(&jira, "POST /rest/api/2/group/user?groupname=jira-software-users", r#"{"name":"b"}"#).status, 201);
    assert_eq!(call(&jira, "PUT /rest/api/2/user?username=a", r#"{"active":true}"#).status, 400);
}

#[test]
fn an_update_is_partial_and_one_that_changes_nothing_is_refused() {
    let jira = jira("10.3.24");
    people(&jira, 2);
    let key = jira.directory().user("u00000").unwrap().key.clone();
    let by_key = format!("PUT /rest/api/2/user?key={key}");
    assert_eq!(call(&jira, &by_key, r#"{"displayName":"New"}"#).status, 200);
    assert_eq!(jira.directory().user("u00000").unwrap().email, "u00000@example.com");
    assert_eq!(call(&jira, &by_key, r#"{"displayName":"New"}"#).status, 400);
    assert_eq!(call(&jira, &by_key, r#"{"name":"U00001"}"#).status, 400);
    assert_eq!(call(&jira, &by_key, r#"{"name":"renamed","emailAddress":"r@example.com"}"#).status, 200);
    assert_eq!(jira.directory().user_by_key(&key).unwrap().name(), "renamed");
    assert_eq!(call(&jira, "PUT /rest/api/2/user?username=u00000", r#"{"name":"x"}"#).status, 404);
    assert_eq!(call(&jira, &by_key, r#"{"emailAddress":"none"}"#).status, 400);
    assert_eq!(jira.directory().writes(), 2);
}

#[test]
fn a_deactivated_user_keeps_its_groups() {
    let jira = jira("10.3.24");
    people(&jira, 1);
    jira.directory().join("jira-software-users", "u00000").unwrap();
    assert_eq!(call(&jira, "PUT /rest/api/2/user?username=u00000", r#"{"active":false}"#).value()["active"], false);
    let user = call(&jira, "GET /rest/api/2/user?username=u00000&expand=groups", "").value();
    assert_eq!(user["groups"]["items"][0]["name"], "jira-software-users");
    let closed = call(&jira, "GET /rest/api/2/user?username=u00000", "").value();
    assert_eq!(closed["groups"], json!({"size": 1, "items": []}));
}

#[test]
fn read_only_users_and_project_leads_are_refused() {
    let jira = jira("10.3.24");
    people(&jira, 2);
    jira.directory().user_mut("u00000").unwrap().read_only = true;
    jira.directory().user_mut("u00001").unwrap().leads_project = true;
    assert_eq!(call(&jira, "PUT /rest/api/2/user?username=u00000", r#"{"active":false}"#).status, 403);
    assert_eq!(call(&jira, "DELETE /rest/api/2/user?username=u00000", "").status, 403);
    assert_eq!(call(&jira, "PUT /rest/api/2/user?username=u00001", r#"{"active":false}"#).status, 400);
    assert_eq!(call(&jira, "POST /rest/api/2/group/user?groupname=jira-software-users", r#"{"name":"u00000"}"#).status, 201);
    jira.directory().user_mut("u00000").unwrap().memberships_fixed = true;
    assert_eq!(call(&jira, "DELETE /rest/api/2/group/user?groupname=jira-software-users&username=u00000", "").status, 400);
    assert_eq!(jira.directory().writes(), 1);
}

#[test]
fn a_membership_that_is_so_already_is_400_and_unknown_ones_are_404() {
    let jira = jira("10.3.24");
    people(&jira, 1);
    assert_eq!(call(&jira, "POST /rest/api/2/group", r#"{"name":"Devs"}"#).status, 201);
    assert_eq!(call(&jira, "POST /rest/api/2/group", r#"{"name":"devs"}"#).status, 400);
    let add = "POST /rest/api/2/group/user?groupname=devs";
    assert_eq!(call(&jira, add, r#"{"name":"U00000"}"#).status, 201);
    assert_eq!(call(&jira, add, r#"{"name":"u00000"}"#).status, 400);
    assert_eq!(call(&jira, add, r#"{"name":"nobody"}"#).status, 404);
    assert_eq!(call(&jira, "POST /rest/api/2/group/user?groupname=none", r#"{"name":"u00000"}"#).status, 404);
    let remove = "DELETE /rest/api/2/group/user?groupname=devs&username=u00000";
    assert_eq!((call(&jira, remove, "").status, call(&jira, remove, "").status), (200, 400));
    assert_eq!(call(&jira, "DELETE /rest/api/2/group?groupname=DEVS", "").status, 200);
    assert_eq!(call(&jira, "DELETE /rest/api/2/group?groupname=devs", "").status, 404);
    assert_eq!(call(&jira, "DELETE /rest/api/2/user?username=u00000", "").status, 204);
    assert_eq!(call(&jira, "GET /rest/api/2/user?username=u00000", "").status, 404);
}

#[test]
fn basic_can_be_off_and_a_captcha_says_so_in_a_header() {
    let access = Access { basic_disabled: true, ..Access::default() };
    let off = Instance::new(Options { access, ..Options::default() });
    let basic = [("authorization", "Basic cm9zdGVyZDp3cm9uZw==")];
    let refused = ask(&off, "GET /rest/api/2/serverInfo", &basic, "");
    assert_eq!(
        (refused.status, refused.value()),
        (403, json!({"message": "Basic Authentication has been disabled on this instance."}))
    );
    let access = Access { captcha_after: Some(1), ..Access::default() };
    let wary = Instance::new(Options { access, ..Options::default() });
    assert_eq!(ask(&wary, "GET /rest/api/2/myself", &basic, "").status, 401);
    let challenge = ask(&wary, "GET /rest/api/2/myself", &basic, "");
    assert_eq!(challenge.status, 403);
    assert!(challenge.header("X-Authentication-Denied-Reason").unwrap().starts_with("CAPTCHA_CHALLENGE"));
}

#[test]
fn a_non_admin_reads_but_does_not_write() {
    let jira = jira("10.3.24");
    jira.gate.set_admin(false);
    assert_eq!(call(&jira, "GET /rest/api/2/myself", "").status, 200);
    assert_eq!(call(&jira, "GET /rest/api/2/mypermissions", "").value()["permissions"]["ADMINISTER"]["havePermission"], false);
    assert_eq!(call(&jira, "GET /rest/api/2/group/member?groupname=jira-software-users", "").status, 403);
    assert_eq!(call(&jira, "POST /rest/api/2/group", r#"{"name":"x"}"#).status, 403);
}

#[test]
fn e_mail_addresses_can_be_hidden_or_masked() {
    for (email, shown) in [
        (EmailVisibility::Public, json!("rosterd@example.com")),
        (EmailVisibility::Masked, json!("rosterd at example dot com")),
        (EmailVisibility::Hidden, Value::Null),
    ] {
        let jira = Instance::new(Options { email, ..Options::default() });
        assert_eq!(call(&jira, "GET /rest/api/2/myself", "").value()["emailAddress"], shown);
    }
}

#[test]
fn outside_the_context_path_there_is_html() {
    let jira = Instance::new(Options { context: "/jira".to_owned(), ..Options::default() });
    assert_eq!(call(&jira, "GET /jira/rest/api/2/serverInfo", "").status, 200);
    let outside = call(&jira, "GET /rest/api/2/serverInfo", "");
    assert_eq!(outside.status, 404);
    assert!(outside.header("content-type").unwrap().starts_with("text/html"));
}

#[test]
fn server_info_does_not_count_against_the_rate_limit() {
    let interval = std::time::Duration::from_secs(3600);
    let rate = crate::gate::Rate { capacity: 1, fill: 1, interval, headers: true };
    let access = Access { rate: Some(rate), ..Access::default() };
    let jira = Instance::new(Options { access, ..Options::default() });
    for _ in 0..3 {
        assert_eq!(call(&jira, "GET /rest/api/2/serverInfo", "").status, 200);
    }
    assert_eq!(call(&jira, "GET /rest/api/2/myself", "").header("X-RateLimit-Remaining"), Some("0"));
    let limited = call(&jira, "GET /rest/api/2/myself", "");
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").unwrap().parse::<u32>().unwrap() > 3000);
}

#[test]
fn a_large_world_is_read_whole() {
    let jira = jira("11.0.0");
    people(&jira, 20_000);
    {
        let mut directory = jira.directory();
        let users: Vec<_> = directory.users_after(0).map(|u| u.id).collect();
        for g in 0..500 {
            let group = directory.add_group(&format!("group-{g}")).unwrap();
            for n in 0..400 {
                directory.join_ids(group, users[(g * 37 + n * 7) % users.len()]).unwrap();
            }
        }
        let everybody = directory.add_group("everybody").unwrap();
        for user in users {
            directory.join_ids(everybody, user).unwrap();
        }
    }
    let (mut users, mut cursor) = (0, "0".to_owned());
    while !cursor.is_empty() {
        let page = call(&jira, &format!("GET /rest/api/2/user/list?cursor={cursor}"), "").value();
        users += page["values"].as_array().unwrap().len();
        cursor = page["nextCursor"].as_str().unwrap_or_default().to_owned();
    }
    let (mut members, mut last) = (0, false);
    while !last {
        let path = format!("GET /rest/api/2/group/member?groupname=everybody&startAt={members}");
        let page = call(&jira, &path, "").value();
        members += page["values"].as_array().unwrap().len();
        last = page["isLast"] == true;
    }
    assert_eq!((users, members), (20_001, 20_001));
}

#[tokio::test]
async fn a_running_jira_answers_below_its_context_path() {
    let options = Options { context: "/jira".to_owned(), ..Options::default() };
    let jira = Jira::start(options).await.unwrap();
    jira.directory().add_group("devs").unwrap();
    let url = format!("{}/rest/api/2/groups/picker?query=dev", jira.url());
    let got = crate::harness::wire::get(&url, "Bearer token-of-rosterd").await;
    assert_eq!(got.json()["groups"][0]["name"], "devs");
    assert_eq!(jira.running.log.len(), 1);
}
