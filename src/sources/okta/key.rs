//! The service app's private key: read once, tried once, so that a key that cannot sign is found by `rosterd check`.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};

use super::settings::{OauthSettings, SigningAlgorithm};
use crate::contract::settings::SettingsError;
use crate::http::secret::Secrets;

/// A private key that has signed once.
#[derive(Debug)]
pub(super) struct SigningKey {
    key: EncodingKey,
    header: Header,
}

impl SigningKey {
    /// Signs claims.
    pub(super) fn sign(&self, claims: &impl serde::Serialize) -> Result<String, jsonwebtoken::errors::Error> {
        jsonwebtoken::encode(&self.header, claims, &self.key)
    }
}

const KEY: &str = "oauth.private_key";

/// Reads the private key that the table names.
///
/// # Errors
/// A secret that cannot be read, a key in another form, an algorithm that does not go with it.
pub(super) fn read(oauth: &OauthSettings, secrets: &Secrets) -> Result<SigningKey, SettingsError> {
    let pem = secrets.read(KEY, &oauth.private_key)?;
    let (key, family) = parse(&pem)?;
    let algorithm = oauth.algorithm.unwrap_or(family);
    let mut header = Header::new(algorithm.into());
    header.kid.clone_from(&oauth.key_id);
    let key = SigningKey { key, header };
    key.sign(&serde_json::json!({})).map_err(|_| {
        SettingsError::one("oauth.algorithm", format!("{algorithm:?} does not go with the private key"))
            .hint(format!("leave it out; {family:?} would be taken. An RSA key has at least 2048 bits, an EC key is on the curve of the algorithm"))
    })?;
    Ok(key)
}

/// The key, and the algorithm that goes with it by default.
fn parse(pem: &SecretString) -> Result<(EncodingKey, SigningAlgorithm), SettingsError> {
    let text = pem.expose_secret().trim();
    let refuse = |what: &str, hint: &str| Err(SettingsError::one(KEY, what).hint(hint));
    if text.starts_with('{') {
        return refuse("is a key in JSON", "copy the key from Okta's console as PEM");
    }
    if text.contains("ENCRYPTED") {
        return refuse("is encrypted", "decrypt it: openssl pkcs8 -in key.pem -out plain.pem");
    }
    if text.contains("BEGIN EC PRIVATE KEY") {
        return refuse("is an EC key in SEC1 form", "convert it: openssl pkcs8 -topk8 -nocrypt -in key.pem -out pkcs8.pem");
    }
    if let Ok(key) = EncodingKey::from_rsa_pem(text.as_bytes()) {
        return Ok((key, SigningAlgorithm::RS256));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(text.as_bytes()) {
        return Ok((key, SigningAlgorithm::ES256));
    }
    refuse("is not a private key in PEM", "it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----")
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::RS256 => Algorithm::RS256,
            SigningAlgorithm::RS384 => Algorithm::RS384,
            SigningAlgorithm::RS512 => Algorithm::RS512,
            SigningAlgorithm::ES256 => Algorithm::ES256,
            SigningAlgorithm::ES384 => Algorithm::ES384,
        }
    }
}
