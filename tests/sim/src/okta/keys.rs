//! Fresh key pairs for service apps, so that no private key lies in the repository.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A key pair, both halves as PEM: the private key as PKCS #8, the public key as SubjectPublicKeyInfo.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// `-----BEGIN PRIVATE KEY-----…`
    pub private_pem: String,
    /// `-----BEGIN PUBLIC KEY-----…`
    pub public_pem: String,
}

impl KeyPair {
    /// A fresh RSA key of 2048 bits, for RS256. Takes a good part of a second.
    pub fn rsa() -> Self {
        let pair = rsa::KeyPair::generate(KeySize::Rsa2048).expect("the machine has randomness");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("a fresh key can be written");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a fresh key can be written");
        Self { private_pem: pem("PRIVATE KEY", private.as_ref()), public_pem: pem("PUBLIC KEY", public.as_ref()) }
    }

    /// A fresh key on P-256, for ES256.
    pub fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the machine has randomness");
        let private = pair.to_pkcs8v1().expect("a fresh key can be written");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a fresh key can be written");
        Self { private_pem: pem("PRIVATE KEY", private.as_ref()), public_pem: pem("PUBLIC KEY", public.as_ref()) }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
