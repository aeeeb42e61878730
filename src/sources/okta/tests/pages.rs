//! Listings: every page, or nothing.

use super::*;
use crate::contract::fault::Fault;
use crate::contract::source::Source;

async fn org_of(pages: usize) -> Org {
    let mut org = Org::new().await;
    let pages: Vec<_> = (0..pages).map(|page| users(page * 3..page * 3 + 3)).collect();
    org.listing("/api/v1/users", "limit=200", &pages).await;
    org.on("/api/v1/groups?limit=200", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
    org
}

#[tokio::test]
async fn more_than_fifty_pages_are_all_read() {
    let org = org_of(52).await;
    let roster = org.okta("").fetch(&Ask::default()).await.expect("whole");
    assert_eq!(roster.users.len(), 156);
    assert_eq!(org.requests(), 53);
    org.assert_all_asked().await;
}

#[tokio::test]
async fn links_joined_by_a_comma_are_followed_too() {
    let mut org = Org::new().await;
    let base = org.server.url();
    let links = format!(
        "<{base}/api/v1/users?fields=id,status&limit=200>; rel=\"self\", <{base}/api/v1/users?after=00u,1&limit=200>; rel=\"next\""
    );
    org.on("/api/v1/users?limit=200", 200, &[("link", &links)], &array(&users(0..2))).await;
    org.on("/api/v1/users?after=00u%2C1&limit=200", 200, &[], &array(&users(2..3))).await;
    org.on("/api/v1/groups?limit=200", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
    assert_eq!(org.okta("").fetch(&Ask::default()).await.expect("whole").users.len(), 3);
}

#[tokio::test]
async fn a_full_last_page_is_followed_by_an_empty_one() {
    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..200), vec![]]).await;
    org.on("/api/v1/groups?limit=200", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
    assert_eq!(org.okta("").fetch(&Ask::default()).await.expect("whole").users.len(), 200);
}

/// An organisation whose seventh page of users, of twelve, is this answer.
async fn seventh(status: usize, headers: &[(&str, &str)], body: &str) -> Fault {
    let mut org = Org::new().await;
    let pages: Vec<_> = (0..7).map(|page| users(page * 3..page * 3 + 3)).collect();
    org.listing("/api/v1/users", "limit=200", &pages).await;
    let sixth = org.mocks.pop().expect("a mock");
    sixth.remove_async().await;
    org.on("/api/v1/users?after=c6&limit=200", status, headers, body).await;
    org.on("/api/v1/groups?limit=200", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
    org.okta("").fetch(&Ask::default()).await.expect_err("not whole").fault
}

#[tokio::test]
async fn a_page_in_the_middle_that_fails_voids_the_whole() {
    assert_eq!(seventh(502, &[], "<html>").await, Fault::Unavailable { retry_after: None });
    assert_eq!(seventh(200, &[("content-type", "text/html")], "<html>login</html>").await, Fault::Malformed);
    assert_eq!(seventh(200, &[], "[{\"id\":\"00u1\",\"status\":").await, Fault::Malformed);
    assert_eq!(seventh(200, &[], "[{\"id\":\"00u1\"}]").await, Fault::Malformed);
    assert_eq!(seventh(200, &[], "{}").await, Fault::Malformed);
    let cursor = r#"{"errorCode":"E0000029","errorSummary":"Invalid paging request.","errorCauses":[]}"#;
    assert_eq!(seventh(400, &[], cursor).await, Fault::Incomplete);
    assert_eq!(seventh(404, &[], NOT_FOUND).await, Fault::NotFound);
}

#[tokio::test]
async fn a_cursor_that_comes_twice_voids_the_whole() {
    let mut org = Org::new().await;
    let next = format!("<{}/api/v1/users?after=c1&limit=200>; rel=\"next\"", org.server.url());
    org.on("/api/v1/users?limit=200", 200, &[("link", &next)], &array(&users(0..2))).await;
    org.on("/api/v1/users?after=c1&limit=200", 200, &[("link", &next)], &array(&users(2..4))).await;
    org.on("/api/v1/groups?limit=200", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
    assert_eq!(org.okta("").fetch(&Ask::default()).await.expect_err("endless").fault, Fault::Incomplete);
}

#[tokio::test]
async fn a_next_link_that_leads_elsewhere_is_not_followed() {
    let elsewhere = |base: &str| {
        [
            "<https://evil.example/api/v1/users?after=c1&limit=200>; rel=\"next\"".to_owned(),
            format!("<{base}/api/v1/groups?after=c1&limit=200>; rel=\"next\""),
            format!("<{base}/api/v1/users?limit=200>; rel=\"next\""),
        ]
    };
    for number in 0..3 {
        let mut org = Org::new().await;
        let link = elsewhere(&org.server.url())[number].clone();
        org.on("/api/v1/users?limit=200", 200, &[("link", &link)], &array(&users(0..2))).await;
        org.on("/api/v1/groups?limit=200", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
        let error = org.okta("").fetch(&Ask::default()).await.expect_err("not followed");
        assert_eq!(error.fault, Fault::Malformed, "{link}");
        assert!(org.requests() <= 2);
    }
}

#[tokio::test]
async fn a_page_too_large_for_the_server_is_asked_for_in_halves() {
    let mut org = Org::new().await;
    let gave_up = r#"{"errorCode":"E0000009","errorSummary":"Internal Server Error","errorCauses":[]}"#;
    org.on("/api/v1/users?limit=200", 500, &[], gave_up).await;
    let next = format!("<{}/api/v1/users?after=c1&limit=100>; rel=\"next\"", org.server.url());
    org.on("/api/v1/users?limit=100", 200, &[("link", &next)], &array(&users(0..100))).await;
    org.on("/api/v1/users?after=c1&limit=100", 200, &[], &array(&users(100..150))).await;
    org.on("/api/v1/groups?limit=200", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
    assert_eq!(org.okta("").fetch(&Ask::default()).await.expect("whole").users.len(), 150);
    org.assert_all_asked().await;
}
