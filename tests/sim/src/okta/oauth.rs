//! The token endpoint and what it hands out: client assertions, scopes, and DPoP.
//!
//! Everything a careless client gets wrong is refused here as Okta refuses it: a proof sent twice, a query in `htu`, an
//! assertion for another host. See <https://developer.okta.com/docs/guides/dpop/nonoktaresourceserver/main/> and
//! <https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/>.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::fault::{Fault, reply};
use super::list::Query;

/// How far a proof's clock may be off.
const TOLERANCE: u64 = 300;

/// A service app that may ask for tokens.
#[derive(Clone, Debug)]
pub struct ServiceApp {
    /// `0oa…`
    pub client_id: String,
    /// The public key that client assertions are checked with, as PEM: RSA or P-256.
    pub public_key_pem: String,
    /// The key's id; an assertion that names another is refused.
    pub key_id: Option<String>,
    /// Whether tokens are given for DPoP proofs only.
    pub dpop: bool,
    /// The scopes that an administrator granted. Asked for more, the rest is left out without a word.
    pub granted: Vec<String>,
    /// Seconds for which a token is good; Okta's are good for 3600.
    pub lifetime: u64,
}

impl ServiceApp {
    /// A service app with the scopes that a reader needs.
    pub fn new(client_id: &str, public_key_pem: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            public_key_pem: public_key_pem.to_owned(),
            key_id: None,
            dpop: false,
            granted: ["okta.users.read", "okta.groups.read", "okta.apps.read"].map(str::to_owned).to_vec(),
            lifetime: 3600,
        }
    }
}

/// A token that is out.
#[derive(Clone, Debug)]
struct Grant {
    scopes: Vec<String>,
    expires: u64,
    /// The thumbprint of the key that it is bound to.
    key: Option<String>,
}

/// What is known of tokens, proofs and assertions.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) app: Option<ServiceApp>,
    /// Whether `/api/v1` asks for a nonce too.
    pub(super) nonce_everywhere: bool,
    nonce: usize,
    minted: usize,
    grants: BTreeMap<String, Grant>,
    used: BTreeSet<String>,
}

/// A refusal of the token endpoint.
struct Refusal {
    status: u16,
    error: &'static str,
    why: &'static str,
}

fn refuse(status: u16, error: &'static str, why: &'static str) -> Refusal {
    Refusal { status, error, why }
}

/// What a proof is about.
struct Subject<'a> {
    method: &'a str,
    url: &'a str,
    token: Option<&'a str>,
}

impl Tokens {
    pub(super) fn new(app: Option<ServiceApp>) -> Self {
        Self { app, nonce_everywhere: false, nonce: 1, minted: 0, grants: BTreeMap::new(), used: BTreeSet::new() }
    }

    /// From now on another nonce is wanted.
    pub(super) fn renew_nonce(&mut self) {
        self.nonce += 1;
    }

    /// Takes all tokens back.
    pub(super) fn revoke(&mut self) {
        self.grants.clear();
    }

    fn nonce(&self) -> String {
        format!("nonce-{}", self.nonce)
    }

    /// Answers `POST /oauth2/v1/token`.
    pub(super) fn token(&mut self, headers: &HeaderMap, form: &str, base: &str, now: u64) -> Response {
        let mut response = match self.mint(headers, &Query::parse(form), &format!("{base}/oauth2/v1/token"), now) {
            Ok(body) => reply(200, body.to_string()),
            Err(Refusal { status, error, why }) => reply(status, json!({ "error": error, "error_description": why }).to_string()),
        };
        if self.app.as_ref().is_some_and(|a| a.dpop) && headers.contains_key("dpop") {
            self.tell_nonce(&mut response);
        }
        response
    }

    fn tell_nonce(&self, response: &mut Response) {
        let nonce = HeaderValue::try_from(self.nonce()).expect("a nonce is ASCII");
        response.headers_mut().insert("dpop-nonce", nonce);
    }

    fn mint(&mut self, headers: &HeaderMap, form: &Query, url: &str, now: u64) -> Result<Value, Refusal> {
        let Some(app) = self.app.clone() else {
            return Err(refuse(401, "invalid_client", "Invalid value for 'client_id' parameter."));
        };
        if form.get("grant_type").as_deref() != Some("client_credentials") {
            return Err(refuse(400, "unsupported_grant_type", "The grant type is not supported."));
        }
        self.check_assertion(&app, form, url, now)?;
        let key = match headers.get("dpop").and_then(|p| p.to_str().ok()) {
            Some(proof) => {
                let subject = Subject { method: "POST", url, token: None };
                Some(self.check_proof(proof, &subject, app.dpop, now)?)
            }
            None if app.dpop => {
                return Err(refuse(400, "invalid_dpop_proof", "The DPoP proof JWT header is missing."));
            }
            None => None,
        };
        let asked = form.get("scope").unwrap_or_default();
        let scopes: Vec<String> =
            asked.split_whitespace().filter(|s| app.granted.iter().any(|g| g == s)).map(str::to_owned).collect();
        if scopes.is_empty() {
            return Err(refuse(400, "invalid_scope", "One or more scopes are not configured for the client."));
        }
        self.minted += 1;
        let token = format!("simulated-access-token-{}", self.minted);
        let kind = if key.is_some() { "DPoP" } else { "Bearer" };
        let scope = scopes.join(" ");
        self.grants.insert(token.clone(), Grant { scopes, expires: now + app.lifetime, key });
        Ok(json!({ "token_type": kind, "expires_in": app.lifetime, "access_token": token, "scope": scope }))
    }

    fn check_assertion(&mut self, app: &ServiceApp, form: &Query, url: &str, now: u64) -> Result<(), Refusal> {
        let invalid = |why| refuse(401, "invalid_client", why);
        if form.get("client_assertion_type").as_deref() != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
            return Err(invalid("The client_assertion_type is not supported."));
        }
        let jwt = form.get("client_assertion").ok_or(invalid("The client_assertion is missing."))?;
        let header = decode_header(&jwt).map_err(|_| invalid("The client_assertion is not a JWT."))?;
        if let (Some(wanted), Some(sent)) = (&app.key_id, &header.kid)
            && wanted != sent
        {
            return Err(invalid("The client_assertion signature is invalid: no such key."));
        }
        let pem = app.public_key_pem.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem).or_else(|_| DecodingKey::from_ec_pem(pem));
        let key = key.expect("the public key in the options is a PEM");
        let claims = claims(&jwt, &key, header.alg).ok_or(invalid("The client_assertion signature is invalid."))?;
        let text = |name: &str| claims[name].as_str().unwrap_or_default();
        if text("iss") != app.client_id || text("sub") != app.client_id {
            return Err(invalid("The issuer and subject of the client_assertion must be the client id."));
        }
        let audience = match &claims["aud"] {
            Value::Array(many) => many.iter().any(|a| a == url),
            one => one == url,
        };
        if !audience {
            return Err(invalid("The audience claim for client_assertion must be the endpoint invoked for the request."));
        }
        let expires = claims["exp"].as_u64().unwrap_or(0);
        if expires <= now {
            return Err(invalid("The client_assertion token is expired."));
        }
        if expires > now + 3600 + TOLERANCE {
            return Err(invalid("The client_assertion token has an expiration too far into the future."));
        }
        if claims["jti"].is_string() && !self.used.insert(format!("assertion {}", text("jti"))) {
            return Err(invalid("The client_assertion token has already been used."));
        }
        Ok(())
    }

    /// Checks a DPoP proof and gives the thumbprint of its key.
    fn check_proof(&mut self, proof: &str, about: &Subject<'_>, nonce: bool, now: u64) -> Result<String, Refusal> {
        let invalid = |why| refuse(400, "invalid_dpop_proof", why);
        let header = decode_header(proof).map_err(|_| invalid("The DPoP proof JWT could not be read."))?;
        if header.typ.as_deref() != Some("dpop+jwt") {
            return Err(invalid("The DPoP proof JWT has an invalid 'typ'."));
        }
        let jwk: Jwk = header.jwk.ok_or(invalid("The DPoP proof JWT has no 'jwk'."))?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| invalid("The DPoP proof JWT's 'jwk' is no key."))?;
        let claims = claims(proof, &key, header.alg).ok_or(invalid("The DPoP proof JWT signature is invalid."))?;
        let text = |name: &str| claims[name].as_str().unwrap_or_default();
        if text("htm") != about.method {
            return Err(invalid("The DPoP proof JWT 'htm' does not match the request."));
        }
        if text("htu") != about.url {
            return Err(invalid("The DPoP proof JWT 'htu' does not match the request."));
        }
        let issued = claims["iat"].as_u64().unwrap_or(0);
        if issued.abs_diff(now) > TOLERANCE {
            return Err(invalid("The DPoP proof JWT 'iat' is not acceptable."));
        }
        if let Some(token) = about.token {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
            if text("ath") != URL_SAFE_NO_PAD.encode(hash) {
                return Err(invalid("The DPoP proof JWT 'ath' does not match the access token."));
            }
        }
        if text("jti").is_empty() || !self.used.insert(format!("proof {}", text("jti"))) {
            return Err(invalid("The DPoP proof JWT has already been used."));
        }
        if nonce && text("nonce") != self.nonce() {
            return Err(refuse(400, "use_dpop_nonce", "Authorization server requires nonce in DPoP proof."));
        }
        jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| invalid("The DPoP proof JWT's 'jwk' is no public key."))
    }

    /// The scopes that an `Authorization: Bearer` or `DPoP` opens, or the answer that refuses it.
    pub(super) fn authenticate(
        &mut self,
        (scheme, token): (&str, &str),
        (method, url): (&Method, &str),
        proof: Option<&str>,
        now: u64,
    ) -> Result<Vec<String>, Box<Response>> {
        let refused = || Box::new(Fault::invalid_token().answer());
        let grant = self.grants.get(token).filter(|g| g.expires > now).cloned().ok_or_else(refused)?;
        let Some(bound) = grant.key else {
            return if scheme == "Bearer" { Ok(grant.scopes) } else { Err(refused()) };
        };
        if scheme != "DPoP" {
            return Err(refused());
        }
        let subject = Subject { method: method.as_str(), url, token: Some(token) };
        let checked = match proof {
            Some(proof) => self.check_proof(proof, &subject, self.nonce_everywhere, now),
            None => Err(refuse(400, "invalid_dpop_proof", "The DPoP proof JWT header is missing.")),
        };
        match checked {
            Ok(key) if key == bound => Ok(grant.scopes),
            Ok(_) => Err(refused()),
            Err(refusal) => Err(Box::new(self.challenge(&refusal))),
        }
    }

    fn challenge(&self, refusal: &Refusal) -> Response {
        let Refusal { status, error, why } = refusal;
        // At a resource a missing nonce is a 401, unlike at the token endpoint (RFC 9449, section 9).
        let status = if *error == "use_dpop_nonce" { 401 } else { *status };
        let mut response = reply(status, json!({ "error": error, "error_description": why }).to_string());
        let says = format!("DPoP error=\"{error}\", error_description=\"{why}\"");
        let says = HeaderValue::try_from(says).expect("the refusals are ASCII");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, says);
        if status == 401 {
            self.tell_nonce(&mut response);
        }
        response
    }
}

/// The claims of a JWT whose signature is good. What they say is checked by the caller, on the simulator's clock.
fn claims(jwt: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Value> {
    let symmetric = matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
    if symmetric {
        return None;
    }
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    decode::<Value>(jwt, key, &validation).ok().map(|data| data.claims)
}

/// The refusal of a token that lacks a scope: no body at all, only a header.
pub(super) fn insufficient(scope: &str) -> Response {
    let mut response = reply(403, "");
    response.headers_mut().remove(header::CONTENT_TYPE);
    let says = format!(
        "Bearer error=\"insufficient_scope\", error_description=\"The access token provided does not contain the required scopes.\", scope=\"{scope}\""
    );
    let says = HeaderValue::try_from(says).expect("scopes are ASCII");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, says);
    response
}
