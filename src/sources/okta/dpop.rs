//! DPoP: a token is bound to a key, and each request proves that its sender holds that key.
//!
//! The key pair is made at start and never leaves the process. It is RSA, since Okta's handling of EC proofs was broken
//! for long. A proof is good for one try of one request: Okta refuses one that it has seen, and an address with a query.
//! The nonce that Okta wants in proofs lives for a day and is kept, so that the second round is rare.
//! <https://developer.okta.com/docs/guides/dpop/nonoktaresourceserver/main/>, <https://www.rfc-editor.org/rfc/rfc9449>

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Serialize;
use tokio::sync::OnceCell;
use url::Url;

/// The header that proofs travel in.
pub(super) const PROOF: &str = "dpop";
const NONCE: &str = "dpop-nonce";

/// Why no proof could be made.
#[derive(Debug, thiserror::Error)]
#[error("the key pair for DPoP could not be made or used")]
pub(super) struct NoProof;

/// Makes proofs.
#[derive(Debug, Default)]
pub(super) struct Dpop {
    pair: OnceCell<Pair>,
    nonce: Mutex<Option<String>>,
}

/// The key pair, and the header of every proof, encoded.
#[derive(Debug)]
struct Pair {
    key: KeyPair,
    header: String,
}

#[derive(Serialize)]
struct ProofHeader<'a> {
    typ: &'static str,
    alg: &'static str,
    jwk: &'a AlgorithmParameters,
}

#[derive(Serialize)]
struct ProofClaims<'a> {
    htm: &'a str,
    htu: &'a str,
    iat: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<&'a str>,
}

impl Dpop {
    /// Makes a proof for one try: for a request with a token, `ath` is the token's hash.
    pub(super) async fn proof(&self, method: &Method, url: &Url, iat: i64, ath: Option<&str>) -> Result<String, NoProof> {
        let pair = self.pair.get_or_try_init(Pair::make).await?;
        let mut htu = url.clone();
        htu.set_query(None);
        htu.set_fragment(None);
        pair.sign(&ProofClaims {
            htm: method.as_str(),
            htu: htu.as_str(),
            iat,
            jti: uuid::Uuid::new_v4().to_string(),
            nonce: self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ath,
        })
    }

    /// Keeps the nonce that an answer gave. True if it gave one, known or not: of two requests that are told of the same
    /// nonce at the same time, both may be sent again.
    pub(super) fn learn(&self, headers: &HeaderMap) -> bool {
        let Some(told) = headers.get(NONCE).and_then(|value| value.to_str().ok()) else { return false };
        *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(told.to_owned());
        true
    }
}

/// What binds a proof to a token.
pub(super) fn hash_of(token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

impl Pair {
    /// Makes a key pair, off the threads that wait for the network: it takes a noticeable time.
    async fn make() -> Result<Self, NoProof> {
        let making = tokio::task::spawn_blocking(|| {
            let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| NoProof)?;
            let header = header_of(&key)?;
            Ok(Self { key, header })
        });
        making.await.map_err(|_| NoProof)?
    }

    fn sign(&self, claims: &ProofClaims<'_>) -> Result<String, NoProof> {
        let claims = serde_json::to_vec(claims).map_err(|_| NoProof)?;
        let mut proof = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), proof.as_bytes(), &mut signature).map_err(|_| NoProof)?;
        proof.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut proof);
        Ok(proof)
    }
}

/// The encoded header with the public key in it.
fn header_of(key: &KeyPair) -> Result<String, NoProof> {
    let der = AsDer::<Pkcs8V1Der<'static>>::as_der(key).map_err(|_| NoProof)?;
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    let private = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| NoProof)?;
    let public = Jwk::from_encoding_key(&private, Algorithm::RS256).map_err(|_| NoProof)?;
    let header = ProofHeader { typ: "dpop+jwt", alg: "RS256", jwk: &public.algorithm };
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(|_| NoProof)?))
}
