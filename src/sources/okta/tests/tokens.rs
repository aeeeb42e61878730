//! The service app: assertions and proofs as Okta checks them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode, decode_header};
use mockito::Request;
use serde_json::Value;

use super::*;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::Source;

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// An RSA key, and its public half. Made once, since that takes a while.
fn rsa() -> (String, DecodingKey) {
    static MADE: OnceLock<String> = OnceLock::new();
    let private = MADE.get_or_init(|| {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: Pkcs8V1Der<'static> = pair.as_der().expect("encoded");
        pem("PRIVATE KEY", der.as_ref())
    });
    public_half(private.clone(), Algorithm::RS256)
}

fn ec() -> (String, DecodingKey) {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    public_half(pem("PRIVATE KEY", der.as_ref()), Algorithm::ES256)
}

fn public_half(private: String, algorithm: Algorithm) -> (String, DecodingKey) {
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(private.as_bytes()),
        _ => EncodingKey::from_rsa_pem(private.as_bytes()),
    };
    let public = Jwk::from_encoding_key(&key.expect("a key"), algorithm).expect("public");
    (private, DecodingKey::from_jwk(&public).expect("usable"))
}

/// A field of a form.
fn field(request: &Request, name: &str) -> String {
    let body = request.body().expect("a body");
    let found = url::form_urlencoded::parse(body).find(|(n, _)| n == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn header(request: &Request, name: &str) -> String {
    request.header(name).first().map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default()
}

/// The claims of a token that is verified with a key and an algorithm.
fn verified(token: &str, key: &DecodingKey, algorithm: Algorithm, audience: Option<&str>) -> Value {
    let mut rules = Validation::new(algorithm);
    match audience {
        Some(audience) => rules.set_audience(&[audience]),
        None => {
            rules.required_spec_claims.clear();
            rules.validate_exp = false;
            rules.validate_aud = false;
        }
    }
    decode::<Value>(token, key, &rules).expect("verifies").claims
}

/// The claims of a proof, verified with the key that it carries.
fn proof(request: &Request) -> Value {
    let text = header(request, "dpop");
    let head = decode_header(&text).expect("a header");
    assert_eq!(head.typ.as_deref(), Some("dpop+jwt"));
    let key = DecodingKey::from_jwk(&head.jwk.expect("the public key")).expect("usable");
    verified(&text, &key, Algorithm::RS256, None)
}

fn claims_of(jwt: &str) -> Value {
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).expect("claims")).expect("base64");
    serde_json::from_slice(&claims).expect("claims")
}

fn has_proof_with(request: &Request, nonce: Option<&str>) -> bool {
    !header(request, "dpop").is_empty() && proof(request)["nonce"].as_str() == nonce
}

fn token(kind: &str, scope: &str) -> String {
    format!(r#"{{"token_type":"{kind}","expires_in":3600,"access_token":"at-1","scope":"{scope}"}}"#)
}

const BOTH: &str = "okta.users.read okta.groups.read";
const WANTS_NONCE: &str =
    r#"{"error":"use_dpop_nonce","error_description":"Authorization server requires nonce in DPoP proof."}"#;

impl Org {
    async fn on_token(
        &mut self,
        status: usize,
        nonce: Option<&str>,
        body: &str,
        fits: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) {
        let mut mock = self.server.mock("POST", "/oauth2/v1/token").with_status(status).with_body(body);
        mock = mock.with_header("content-type", "application/json").match_request(fits);
        if let Some(nonce) = nonce {
            mock = mock.with_header("dpop-nonce", nonce);
        }
        self.mocks.push(mock.expect(1).create_async().await);
    }

    async fn on_user(&mut self, fits: impl Fn(&Request) -> bool + Send + Sync + 'static) {
        let mock = self.server.mock("GET", "/api/v1/users/00u00001").match_request(fits);
        let mock = mock.with_status(404).with_header("content-type", "application/json").with_body(NOT_FOUND);
        self.mocks.push(mock.expect(1).create_async().await);
    }
}

/// Makes one request that needs a token.
async fn ask(okta: &Okta) -> Result<(), ConnectorError> {
    okta.fetch_user(&"00u00001".into(), &Ask::default()).await.map(|found| assert!(found.is_none()))
}

#[tokio::test]
async fn an_assertion_verifies_with_the_public_key() {
    for (algorithm, (private, public)) in [(Algorithm::RS256, rsa()), (Algorithm::ES256, ec())] {
        let mut org = Org::new().await;
        let audience = format!("{}/oauth2/v1/token", org.server.url());
        let fits = move |request: &Request| {
            let assertion = field(request, "client_assertion");
            assert_eq!(decode_header(&assertion).expect("a header").kid.as_deref(), Some("k1"));
            let claims = verified(&assertion, &public, algorithm, Some(&audience));
            claims["iss"] == "0oaclient"
                && claims["sub"] == "0oaclient"
                && claims["exp"].as_i64() <= claims["iat"].as_i64().map(|iat| iat + 3600)
                && field(request, "grant_type") == "client_credentials"
                && field(request, "scope") == "okta.groups.read okta.users.read"
                && header(request, "dpop").is_empty()
        };
        org.on_token(200, None, &token("Bearer", BOTH), fits).await;
        org.on_user(|request| header(request, "authorization") == "Bearer at-1").await;
        let okta = org.service_app(&private, ", key_id = \"k1\", dpop = false");
        ask(&okta).await.expect("answered");
        org.assert_all_asked().await;
    }
}

#[tokio::test]
async fn the_nonce_is_asked_for_once_and_nothing_is_sent_twice() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    // The ids of all assertions and proofs that were sent. A request may be shown to several of the closures below.
    let ids = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = {
        let ids = ids.clone();
        move |jwt: &str| ids.lock().expect("unpoisoned").insert(claims_of(jwt)["jti"].to_string())
    };
    let base = org.server.url();
    let token_url = format!("{base}/oauth2/v1/token");
    let see = seen.clone();
    let fits = move |request: &Request| {
        see(&field(request, "client_assertion"));
        see(&header(request, "dpop"));
        has_proof_with(request, None)
    };
    org.on_token(400, Some("n1"), WANTS_NONCE, fits).await;
    let fits = move |request: &Request| {
        let claims = proof(request);
        claims["nonce"] == "n1" && claims["htm"] == "POST" && claims["htu"] == *token_url && claims["ath"].is_null()
    };
    org.on_token(200, Some("n1"), &token("DPoP", BOTH), fits).await;
    let hash = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"at-1"));
    let page = format!("{base}/api/v1/users");
    for own in ["limit=1", "limit=2"] {
        let (page, hash, see) = (page.clone(), hash.clone(), seen.clone());
        let fits = move |request: &Request| {
            let claims = proof(request);
            see(&header(request, "dpop"));
            header(request, "authorization") == "DPoP at-1"
                && claims["htm"] == "GET"
                && claims["htu"] == *page
                && claims["ath"] == *hash
                && claims["nonce"] == "n1"
        };
        let mock = org.server.mock("GET", &*format!("/api/v1/users?{own}")).match_request(fits);
        let mock = mock.with_header("content-type", "application/json").with_body("[]").expect(1);
        org.mocks.push(mock.create_async().await);
    }
    let okta = org.service_app(&private, "");
    for limit in [1, 2] {
        let call = crate::http::wire::Call::get("api/v1/users", "list users").query("limit", limit);
        okta.api.send(call).await.expect("answered");
    }
    assert_eq!(org.requests(), 4);
    assert_eq!(ids.lock().expect("unpoisoned").len(), 2 + 4, "an assertion or a proof was sent twice");
    org.assert_all_asked().await;
}

#[tokio::test]
async fn a_nonce_wanted_by_the_api_itself_is_brought() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    org.on_token(200, None, &token("DPoP", BOTH), |_| true).await;
    let mock = org.server.mock("GET", "/api/v1/users/00u00001").match_request(|request| has_proof_with(request, None));
    let mock = mock.with_status(401).with_header("www-authenticate", "DPoP error=\"use_dpop_nonce\"");
    org.mocks.push(mock.with_header("dpop-nonce", "n2").expect(1).create_async().await);
    org.on_user(|request| has_proof_with(request, Some("n2"))).await;
    ask(&org.service_app(&private, "")).await.expect("answered");
    org.assert_all_asked().await;
}

#[tokio::test]
async fn a_bearer_token_is_taken_though_dpop_was_offered() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    org.on_token(200, None, &token("Bearer", BOTH), |_| true).await;
    org.on_user(|request| header(request, "authorization") == "Bearer at-1" && header(request, "dpop").is_empty()).await;
    ask(&org.service_app(&private, "")).await.expect("answered");
}

#[tokio::test]
async fn a_refused_token_is_tried_once_more_and_then_no_more() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    org.on_token(200, None, &token("Bearer", BOTH), |_| true).await;
    let refused = r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#;
    let mock = org.server.mock("GET", "/api/v1/users/00u00001").with_status(401).with_body(refused).expect(2);
    org.mocks.push(mock.create_async().await);
    let okta = org.service_app(&private, "");
    assert_eq!(ask(&okta).await.expect_err("refused").fault, Fault::Refused);
    assert_eq!(ask(&okta).await.expect_err("refused").fault, Fault::Refused);
    org.assert_all_asked().await;
}

#[tokio::test]
async fn scopes_that_were_not_granted_are_named() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    org.on_token(200, None, &token("Bearer", "okta.users.read"), |_| true).await;
    let error = ask(&org.service_app(&private, "")).await.expect_err("too few scopes");
    assert_eq!(error.fault, Fault::Forbidden);
    assert!(error.why.contains("okta.groups.read") && !error.why.contains("okta.users.read"));
    assert!(error.hint.is_some_and(|hint| hint.contains("Okta API Scopes")));
}

#[tokio::test]
async fn one_failure_to_get_a_token_is_shared_by_all_who_wait() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    let body =
        r#"{"error":"invalid_client","error_description":"The client secret supplied for a confidential client is invalid."}"#;
    org.on_token(401, None, body, |_| true).await;
    let okta = org.service_app(&private, "");
    let outcomes = futures::future::join_all((0..5).map(|_| ask(&okta))).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.is_err_and(|error| error.fault == Fault::Refused)));
    org.assert_all_asked().await;
}

#[tokio::test]
async fn a_service_app_that_requires_dpop_is_told_apart() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    let body = r#"{"error":"invalid_dpop_proof","error_description":"The DPoP proof JWT header is missing."}"#;
    org.on_token(400, None, body, |_| true).await;
    let error = ask(&org.service_app(&private, ", dpop = false")).await.expect_err("refused");
    assert_eq!(error.fault, Fault::Refused);
    assert!(error.hint.is_some_and(|hint| hint.contains("oauth.dpop = true")));
}

#[tokio::test]
async fn an_assertion_is_dated_by_oktas_clock_once_it_is_known() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    let ahead = std::time::SystemTime::now() + std::time::Duration::from_secs(7200);
    let seconds = ahead.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let body = r#"{"error":"invalid_client","error_description":"The client_assertion token is expired."}"#;
    let mock = org.server.mock("POST", "/oauth2/v1/token").with_status(401).with_body(body);
    let mock = mock.with_header("date", &httpdate::fmt_http_date(ahead)).expect(1);
    org.mocks.push(mock.create_async().await);
    let dated = move |request: &Request| {
        let claims = claims_of(&field(request, "client_assertion"));
        claims["iat"].as_u64().is_some_and(|iat| iat.abs_diff(seconds) < 60)
    };
    org.on_token(200, None, &token("Bearer", BOTH), dated).await;
    org.on_user(|_| true).await;
    ask(&org.service_app(&private, "")).await.expect("answered");
    org.assert_all_asked().await;
}

#[tokio::test]
async fn a_limit_on_tokens_is_waited_out_and_the_next_try_has_an_assertion_of_its_own() {
    let (private, _) = rsa();
    let mut org = Org::new().await;
    let ids = Arc::new(Mutex::new(BTreeSet::new()));
    let see = ids.clone();
    let fits = move |request: &Request| {
        let claims = claims_of(&field(request, "client_assertion"));
        see.lock().expect("unpoisoned").insert(claims["jti"].to_string());
        true
    };
    let body = r#"{"errorCode":"E0000047","errorSummary":"API call exceeded rate limit due to too many requests."}"#;
    let mock = org.server.mock("POST", "/oauth2/v1/token").match_request(fits).with_status(429).with_body(body);
    let mock = mock.with_header("date", "Thu, 12 Mar 2026 04:57:45 GMT").with_header("x-rate-limit-limit", "150");
    let mock = mock.with_header("x-rate-limit-remaining", "0").with_header("x-rate-limit-reset", "1773291465");
    org.mocks.push(mock.expect(1).create_async().await);
    org.on_token(200, None, &token("Bearer", BOTH), |_| true).await;
    org.on_user(|_| true).await;
    ask(&org.service_app(&private, ", dpop = false")).await.expect("answered");
    assert_eq!(ids.lock().expect("unpoisoned").len(), 2);
    org.assert_all_asked().await;
}

#[test]
fn keys_in_other_forms_are_refused_with_the_way_out() {
    let (rsa, _) = rsa();
    let pkcs1 = EncodingKey::from_rsa_pem(rsa.as_bytes()).expect("a key");
    let pkcs1 = pem("RSA PRIVATE KEY", pkcs1.as_bytes());
    let build = |key: &str, more: &str| {
        let toml =
            format!("domain = \"acme.okta.com\"\noauth = {{ client_id = \"0oa1\", private_key = {{ env = \"K\" }}{more} }}");
        let secrets = Secrets::with_env(BTreeMap::from([("K".into(), key.into())]));
        Okta::new(&settings(&toml), &Kit { secrets, meters: Arc::default(), latches: Default::default() }).map(drop)
    };
    assert_eq!(build(&rsa, ""), Ok(()));
    assert_eq!(build(&pkcs1, ", algorithm = \"RS512\""), Ok(()));
    assert_eq!(build(&ec().0, ""), Ok(()));
    assert_eq!(build(&rsa, ", algorithm = \"ES256\"").expect_err("mismatch").0[0].key, "oauth.algorithm");
    for (key, way_out) in [
        ("{\"kty\":\"RSA\"}", "PEM"),
        ("-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----", "openssl pkcs8 -topk8"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----", "decrypt"),
        ("nonsense", "BEGIN PRIVATE KEY"),
    ] {
        let error = build(key, "").expect_err("refused");
        assert!(error.0[0].hint.as_deref().is_some_and(|hint| hint.contains(way_out)), "{key}");
        assert!(!error.to_string().contains("nonsense"));
    }
}
