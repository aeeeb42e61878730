//! Clocks that are an hour apart: limits, waits and signed assertions go by the server's clock.

use std::time::{Duration, Instant, SystemTime};

use rosterd::contract::journal::Ended;
use rosterd_sim::estate::Options;
use rosterd_sim::harness::{Fault, Rule};
use rosterd_sim::okta::{self, KeyPair, ServiceApp};

use crate::stage::*;
use crate::support::{Scene, Setting, ended};

const HOUR: i64 = 3600;

#[tokio::test]
async fn a_window_is_kept_although_the_servers_clock_is_an_hour_off() {
    for skew in [HOUR, -HOUR] {
        let mut scene = fresh(crowd(40)).await;
        amend(&mut scene, "sources.okta", "http = { rate_share = 1.0 }");
        let okta = &scene.estate.okta;
        okta.server.clock.skew(skew);
        okta.quirks(|q| q.page_cap = Some(5));
        okta.window(Duration::from_secs(1));
        okta.limit("users", 6);
        let begun = Instant::now();
        scene.converge().await;
        assert_eq!(okta.refused(), 0, "skew {skew}: no request while the bucket is known to be empty");
        assert!(begun.elapsed() < Duration::from_secs(60), "skew {skew}: took {:?}", begun.elapsed());
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_date_to_come_back_is_read_by_the_servers_clock() {
    for skew in [HOUR, -HOUR] {
        let scene = fresh(staff()).await;
        scene.converge().await;
        let skewed = SystemTime::now() + Duration::from_secs(2 * HOUR as u64) - Duration::from_secs((2 * HOUR - skew) as u64);
        for at in At::ALL {
            at.running(&scene).clock.skew(skew);
            let until = httpdate::fmt_http_date(skewed + Duration::from_secs(2));
            at.faults(&scene).add(Rule::once("GET", "", Fault::json(429, "{}").header("Retry-After", &until)).after(3));
        }
        let begun = Instant::now();
        for report in scene.run().await {
            assert_eq!(ended(&report), Ended::Converged, "skew {skew}: {:?}", report.record.end);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "skew {skew}: took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_service_app_gets_its_token_although_the_servers_clock_is_an_hour_off() {
    for (skew, dpop) in [(HOUR, true), (-HOUR, true), (HOUR, false), (-HOUR, false)] {
        let pair = KeyPair::p256();
        let app = ServiceApp { dpop, ..ServiceApp::new("0oaServiceApp0000000", &pair.public_pem) };
        let options =
            Options { okta: okta::Options { service_app: Some(app), ..okta::Options::default() }, ..Options::default() };
        let mut scene = prepared(Scene::new(staff(), Setting { options, ..Setting::default() }).await);
        let key = scene.folder.path().join("okta.pem");
        std::fs::write(&key, &pair.private_pem).expect("the key is written");
        rewrite(&mut scene, |text| {
            let line = text.lines().find(|l| l.starts_with("api_token")).expect("there is a token").to_owned();
            let path = key.display();
            let oauth = format!(
                "oauth = {{ client_id = \"0oaServiceApp0000000\", private_key = {{ file = \"{path}\" }}, dpop = {dpop} }}"
            );
            text.replace(&line, &oauth)
        });
        scene.estate.okta.server.clock.skew(skew);
        scene.converge().await;
        let tokens = scene.estate.okta.server.log.count("POST", "/oauth2/v1/token");
        assert!(tokens <= 4, "skew {skew}, dpop {dpop}: {tokens} requests for a token");
        heals(&scene).await;
    }
}
