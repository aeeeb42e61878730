//! Credentials, scopes, DPoP, roles and rate limits.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const CLIENT: &str = "0oaServiceApp0000000";

struct Client {
    url: String,
    signing: KeyPair,
    proving: KeyPair,
    number: std::cell::Cell<usize>,
}

fn sign(header: &Header, claims: &Value, key: &KeyPair) -> String {
    let pem = key.private_pem.as_bytes();
    let key = EncodingKey::from_ec_pem(pem).or_else(|_| EncodingKey::from_rsa_pem(pem)).unwrap();
    encode(header, claims, &key).unwrap()
}

impl Client {
    async fn started(dpop: bool) -> (Self, Okta) {
        let signing = KeyPair::p256();
        let app = ServiceApp { dpop, ..ServiceApp::new(CLIENT, &signing.public_pem) };
        let okta = Okta::start(hand(), Options { service_app: Some(app), ..Options::default() }).await.unwrap();
        (Self { url: okta.url.clone(), signing, proving: KeyPair::p256(), number: 0.into() }, okta)
    }

    fn fresh(&self) -> String {
        self.number.set(self.number.get() + 1);
        format!("jti-{}", self.number.get())
    }

    fn now() -> u64 {
        Clock::default().epoch()
    }

    fn assertion(&self) -> Value {
        let audience = format!("{}/oauth2/v1/token", self.url);
        json!({ "iss": CLIENT, "sub": CLIENT, "aud": audience, "exp": Self::now() + 300, "jti": self.fresh() })
    }

    fn proof(&self, method: &str, url: &str, more: Value) -> String {
        let key = EncodingKey::from_ec_pem(self.proving.private_pem.as_bytes()).unwrap();
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        let header = Header { typ: Some("dpop+jwt".into()), jwk: Some(jwk), ..Header::new(Algorithm::ES256) };
        let mut claims = json!({ "htm": method, "htu": url, "iat": Self::now(), "jti": self.fresh() });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        sign(&header, &claims, &self.proving)
    }

    async fn token(&self, claims: &Value, scope: &str, proof: Option<&str>) -> Got {
        let jwt = sign(&Header::new(Algorithm::ES256), claims, &self.signing);
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let form = format!("grant_type=client_credentials&scope={scope}&client_assertion_type={kind}&client_assertion={jwt}");
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend(proof.map(|p| ("dpop", p)));
        send("POST", &format!("{}/oauth2/v1/token", self.url), &headers, &form).await.unwrap()
    }

    async fn dpop_get(&self, token: &str, target: &str, proof: &str) -> Got {
        let credential = format!("DPoP {token}");
        let headers = [("authorization", credential.as_str()), ("dpop", proof)];
        send("GET", &format!("{}{target}", self.url), &headers, "").await.unwrap()
    }
}

#[tokio::test]
async fn an_api_token_is_checked_and_can_be_taken_back() {
    let okta = started(hand()).await;
    let url = format!("{}/api/v1/users", okta.url);
    assert_eq!(code(&get(&url, "SSWS wrong").await), (401, "E0000011".into()));
    assert_eq!(code(&send("GET", &url, &[], "").await.unwrap()), (401, "E0000011".into()));
    assert_eq!(get(&url, SSWS).await.status, 200);
    okta.revoke_tokens();
    assert_eq!(code(&get(&url, SSWS).await), (401, "E0000011".into()));
    okta.set_token("another");
    assert_eq!(get(&url, "SSWS another").await.status, 200);
}

#[tokio::test]
async fn a_service_app_without_a_role_sees_nobody_and_is_not_told() {
    let okta = started(hand()).await;
    okta.blind(true);
    let got = ask(&okta, "/api/v1/users?limit=200").await;
    assert_eq!((got.status, got.text()), (200, "[]"));
    for target in ["/api/v1/groups", "/api/v1/users/me", "/api/v1/apps"] {
        assert_eq!(code(&ask(&okta, target).await), (403, "E0000006".into()), "{target}");
    }
}

#[tokio::test]
async fn a_client_assertion_gets_the_scopes_that_were_granted_and_no_word_of_the_rest() {
    let (client, okta) = Client::started(false).await;
    okta.grant(&["okta.users.read"]);
    let got = client.token(&client.assertion(), "okta.users.read+okta.groups.read", None).await.json();
    assert_eq!((got["token_type"].as_str(), got["scope"].as_str()), (Some("Bearer"), Some("okta.users.read")));
    let bearer = format!("Bearer {}", got["access_token"].as_str().unwrap());
    assert_eq!(get(&format!("{}/api/v1/users", okta.url), &bearer).await.status, 200);
    let me = get(&format!("{}/api/v1/users/me", okta.url), &bearer).await;
    assert_eq!(code(&me), (404, "E0000007".into()), "a service app is nobody");
    let refused = get(&format!("{}/api/v1/groups", okta.url), &bearer).await;
    assert_eq!((refused.status, refused.text()), (403, ""));
    assert!(refused.header("www-authenticate").contains("insufficient_scope"));
    let none = client.token(&client.assertion(), "okta.groups.read", None).await;
    assert_eq!((none.status, none.json()["error"].as_str()), (400, Some("invalid_scope")));
    okta.revoke_tokens();
    assert_eq!(get(&format!("{}/api/v1/users", okta.url), &bearer).await.status, 401);
}

#[tokio::test]
async fn a_client_assertion_must_be_fresh_signed_and_for_this_host() {
    let (client, _okta) = Client::started(false).await;
    let good = client.assertion();
    assert_eq!(client.token(&good, "okta.users.read", None).await.status, 200);
    let mut bad = vec![("used", good)];
    for (what, key, value) in [
        ("audience", "aud", json!("https://elsewhere/oauth2/v1/token")),
        ("expired", "exp", json!(Client::now() - 1)),
        ("too long", "exp", json!(Client::now() + 8000)),
        ("issuer", "iss", json!("0oaOther")),
    ] {
        let mut claims = client.assertion();
        claims[key] = value;
        bad.push((what, claims));
    }
    for (what, claims) in bad {
        let got = client.token(&claims, "okta.users.read", None).await;
        assert_eq!((got.status, got.json()["error"].as_str()), (401, Some("invalid_client")), "{what}");
    }
    let stranger = Client { signing: KeyPair::p256(), proving: KeyPair::p256(), url: client.url.clone(), number: 99.into() };
    assert_eq!(stranger.token(&stranger.assertion(), "okta.users.read", None).await.status, 401);
}

#[tokio::test]
async fn dpop_wants_a_proof_then_a_nonce_then_a_new_proof_for_each_request() {
    let (client, okta) = Client::started(true).await;
    let url = format!("{}/oauth2/v1/token", okta.url);
    let error = |got: &Got| (got.status, got.json()["error"].as_str().unwrap_or_default().to_owned());
    let got = client.token(&client.assertion(), "okta.users.read", None).await;
    assert_eq!(error(&got), (400, "invalid_dpop_proof".into()));
    let got = client.token(&client.assertion(), "okta.users.read", Some(&client.proof("POST", &url, json!({})))).await;
    assert_eq!(error(&got), (400, "use_dpop_nonce".into()));
    let nonce = got.header("dpop-nonce").to_owned();
    let proof = client.proof("POST", &url, json!({ "nonce": nonce }));
    let got = client.token(&client.assertion(), "okta.users.read", Some(&proof)).await;
    assert_eq!(got.json()["token_type"], "DPoP");
    assert_eq!(got.header("dpop-nonce"), nonce);
    let got_again = client.token(&client.assertion(), "okta.users.read", Some(&proof)).await;
    assert_eq!(error(&got_again), (400, "invalid_dpop_proof".into()), "a proof is good once");

    let token = got.json()["access_token"].as_str().unwrap().to_owned();
    let ath = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes()));
    let users = format!("{}/api/v1/users", okta.url);
    let proof = client.proof("GET", &users, json!({ "ath": ath }));
    assert_eq!(client.dpop_get(&token, "/api/v1/users?limit=1", &proof).await.status, 200);
    let again = client.dpop_get(&token, "/api/v1/users?limit=1", &proof).await;
    assert!(again.text().contains("already been used"), "{}", again.text());
    for proof in [
        client.proof("GET", &format!("{users}?limit=1"), json!({ "ath": ath })),
        client.proof("POST", &users, json!({ "ath": ath })),
        client.proof("GET", &users, json!({ "ath": "x" })),
        client.proof("GET", &users, json!({ "ath": ath, "iat": Client::now() - 1000 })),
    ] {
        assert_eq!(error(&client.dpop_get(&token, "/api/v1/users?limit=1", &proof).await).0, 400);
    }
    assert_eq!(get(&users, &format!("Bearer {token}")).await.status, 401, "a bound token is no bearer token");
    okta.nonce_everywhere(true);
    let asked = client.dpop_get(&token, "/api/v1/users", &client.proof("GET", &users, json!({ "ath": ath }))).await;
    assert_eq!(asked.status, 401);
    assert!(asked.header("www-authenticate").contains("use_dpop_nonce"));
    let proof = client.proof("GET", &users, json!({ "ath": ath, "nonce": asked.header("dpop-nonce") }));
    assert_eq!(client.dpop_get(&token, "/api/v1/users", &proof).await.status, 200);
}

#[tokio::test]
async fn an_rsa_key_signs_assertions_too_and_a_token_ends_by_the_servers_clock() {
    let signing = KeyPair::rsa();
    let app = ServiceApp { lifetime: 600, ..ServiceApp::new(CLIENT, &signing.public_pem) };
    let okta = Okta::start(hand(), Options { service_app: Some(app), ..Options::default() }).await.unwrap();
    let client = Client { url: okta.url.clone(), proving: KeyPair::p256(), signing, number: 0.into() };
    let jwt = sign(&Header::new(Algorithm::RS256), &client.assertion(), &client.signing);
    let form = format!(
        "grant_type=client_credentials&scope=okta.users.read&client_assertion={jwt}\
         &client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    let got = send("POST", &format!("{}/oauth2/v1/token", okta.url), &[], &form).await.unwrap().json();
    let bearer = format!("Bearer {}", got["access_token"].as_str().unwrap());
    let url = format!("{}/api/v1/users", okta.url);
    assert_eq!(get(&url, &bearer).await.status, 200);
    okta.server.clock.skew(601);
    assert_eq!(get(&url, &bearer).await.status, 401);
}

#[tokio::test]
async fn a_full_window_refuses_until_it_ends_and_says_when_by_its_own_clock() {
    let okta = started(hand()).await;
    okta.server.clock.skew(5_000);
    okta.limit("users", 2);
    let left: Vec<_> = [ask(&okta, "/api/v1/users").await, ask(&okta, "/api/v1/users").await]
        .map(|got| got.header("x-rate-limit-remaining").to_owned())
        .to_vec();
    assert_eq!(left, ["1", "0"]);
    let refused = ask(&okta, "/api/v1/users").await;
    assert_eq!(code(&refused), (429, "E0000047".into()));
    assert_eq!((refused.header("x-rate-limit-limit"), refused.header("retry-after")), ("2", ""));
    let date = httpdate::parse_http_date(refused.header("date")).unwrap();
    let date = date.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let wait = refused.header("x-rate-limit-reset").parse::<u64>().unwrap() - date;
    assert!((50..=61).contains(&wait), "{wait}");
    assert_eq!(ask(&okta, "/api/v1/users/me").await.status, 200, "single users have a bucket of their own");
    assert_eq!(okta.refused(), 1);
    okta.window(Duration::ZERO);
    assert_eq!(ask(&okta, "/api/v1/users").await.status, 200);
}

#[tokio::test]
async fn too_many_at_once_are_refused_with_a_limit_of_nothing() {
    let okta = started(hand()).await;
    okta.quirks(|q| q.at_once = Some(1));
    okta.server.faults.latency(Duration::from_millis(50));
    let (one, two) = tokio::join!(ask(&okta, "/api/v1/users"), ask(&okta, "/api/v1/users"));
    let refused = if one.status == 429 { &one } else { &two };
    assert_eq!(code(refused), (429, "E0000047".into()));
    assert_eq!(refused.header("x-rate-limit-limit"), "0");
    assert_eq!(one.status.min(two.status), 200);
    assert_eq!(okta.server.log.most_in_flight(), 2);
}
