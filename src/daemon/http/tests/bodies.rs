//! Requests that say nothing, too much, or something else.

use super::*;

const APPROVE: &str = "/api/v1/plans/0000/approve";

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_with_the_place_of_each_mistake() {
    let door = Door::open(false).await;
    for (path, body, pointer) in [
        (APPROVE, r#"{"reason":5}"#, "/reason"),
        (APPROVE, r#"{"reason":" \n "}"#, "/reason"),
        (APPROVE, r#"{"reason":"a\u0000b"}"#, "/reason"),
        (APPROVE, r#"{}"#, ""),
        (APPROVE, r#"null"#, ""),
        (APPROVE, r#" ["x"]"#, ""),
        ("/api/v1/jobs/staff/run", "[]", ""),
        (APPROVE, r#"{"reason":"x","only":["a",7]}"#, "/only/1"),
        (APPROVE, r#"{"reason":"x","only":[]}"#, "/only"),
        (APPROVE, r#"{"reason":"x","only":["a","["]}"#, "/only/1"),
        (APPROVE, r#"{"reason":"x","only":["a",""]}"#, "/only/1"),
        (APPROVE, r#"{"reason":"x","onyl":["ada"]}"#, "/onyl"),
        (APPROVE, r#"{"reason":"x","reason":"y"}"#, ""),
        ("/api/v1/release", r#"{"what":"","reason":"x"}"#, "/what"),
        ("/api/v1/release", r#"{"what":"jira"}"#, ""),
        ("/api/v1/release", r#"{"what":"jira","reason":" "}"#, "/reason"),
        ("/api/v1/release", r#"{"what":18446744073709551616}"#, "/what"),
        ("/api/v1/jobs/staff/run", r#"{"targets":["jira","nowhere","wiki","elsewhere"]}"#, "/targets/1"),
        ("/api/v1/jobs/staff/run", r#"{"targets":[]}"#, "/targets"),
    ] {
        let said = door.post(path, body).await.is(422, "invalid");
        assert_eq!(said["errors"][0]["pointer"], pointer, "{body}: {said}");
        assert!(said["errors"][0]["detail"].as_str().is_some_and(|d| !d.is_empty() && !d.contains("line 1")), "{said}");
    }
    let said = door.post("/api/v1/jobs/staff/run", r#"{"targets":["x","jira","y"]}"#).await.is(422, "invalid");
    assert_eq!(said["errors"].as_array().map(Vec::len), Some(2), "all at once: {said}");
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(1001));
    door.post(APPROVE, &long).await.is(422, "invalid");
}

#[tokio::test]
async fn what_is_no_json_is_told_with_line_and_column() {
    let door = Door::open(false).await;
    for body in ["", "{", r#"{"reason":"x"} and more"#, "reason=x", r#"{"reason": 1e999}"#] {
        let said = door.post(APPROVE, body).await.is(400, "malformed");
        assert!(said["detail"].as_str().is_some_and(|d| d.contains("line 1 column")), "{said}");
    }
    let bytes = Body::from(&b"{\"reason\":\"\xff\xfe\"}"[..]);
    let request = Request::post(APPROVE).header(header::AUTHORIZATION, format!("Bearer {OPS}"));
    let request = request.header(header::CONTENT_TYPE, "application/json").body(bytes).expect("a request");
    door.send([127, 0, 0, 1], request).await.is(400, "malformed");
}

#[tokio::test]
async fn a_body_of_another_kind_or_size_is_refused() {
    let door = Door::open(false).await;
    for media in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx")] {
        let mut request = Request::post("/api/v1/release").header(header::AUTHORIZATION, format!("Bearer {OPS}"));
        if let Some(media) = media {
            request = request.header(header::CONTENT_TYPE, media);
        }
        let request = request.body(Body::from(r#"{"what":"jira","reason":"x"}"#)).expect("a request");
        door.send([127, 0, 0, 1], request).await.is(415, "unsupported-media-type");
    }
    let body = format!(r#"{{"what":"{}"}}"#, "x".repeat(70_000));
    door.post("/api/v1/release", &body).await.is(413, "too-large");
    door.post("/api/v1/jobs/staff/run", &body).await.is(413, "too-large");
}

#[tokio::test]
async fn addresses_that_name_nothing_are_unknown_and_queries_are_read_strictly() {
    let door = Door::open(false).await;
    for path in [
        "/api/v1/runs/none",
        "/api/v1/runs/%00",
        "/api/v1/runs/%ff%fe",
        "/api/v1/runs/0192f0c1-2d3e-7abc-8def-000000000000",
        "/api/v1/plans/%27%20or%201%3D1",
        "/api/v1/plans/abcdef",
        "/api/v1/plans/%F0%9F%98%80",
        "/api/v1/",
        "/API/V1/STATUS",
    ] {
        door.get(path).await.is(404, "unknown");
    }
    door.post("/api/v1/jobs/%00/run", "{}").await.is(404, "unknown");
    door.post("/api/v1/jobs/nojob/run", "{}").await.is(404, "unknown");
    for query in [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=99999999999999999999999999",
        "limit=",
        "limit=1e2",
        "limit=5&limit=6",
        "lmit=5",
        "job=%00",
    ] {
        door.get(&format!("/api/v1/runs?{query}")).await.is(400, "malformed");
    }
    for beyond in ["none", "0192f0c1-2d3e-7abc-8def-000000000000"] {
        door.get(&format!("/api/v1/runs?beyond={beyond}")).await.is(404, "unknown");
    }
    for offset in ["4294967296", "4294967295", "1000001", "-1"] {
        door.get(&format!("/api/v1/retries?offset={offset}")).await.is(400, "malformed");
    }
    assert_eq!(door.get("/api/v1/retries?offset=1000000").await.status, 200);
}
