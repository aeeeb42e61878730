//! Credentials on requests.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use url::Url;

use crate::contract::fault::ConnectorError;

/// Puts a credential on each request.
#[async_trait]
pub trait Authorize: Send + Sync {
    /// Adds the headers for a request that is about to be sent. Called anew for each try.
    async fn authorize(&self, method: &Method, url: &Url, headers: &mut HeaderMap) -> Result<(), ConnectorError>;

    /// Told of a 401 with its headers. True: a fresh credential was got (a new token, a nonce), and the request may be
    /// sent once more. A static credential never gets a second try, since some systems lock the account.
    async fn renew(&self, _answer: &HeaderMap) -> bool {
        false
    }
}

/// `Authorization: <scheme> <token>`.
#[derive(Debug)]
pub struct Token {
    /// `Bearer` or `SSWS`.
    pub scheme: &'static str,
    /// The token.
    pub token: SecretString,
}

#[async_trait]
impl Authorize for Token {
    async fn authorize(&self, _method: &Method, _url: &Url, _headers: &mut HeaderMap) -> Result<(), ConnectorError> {
        unimplemented!()
    }
}

/// `Authorization: Basic …`.
#[derive(Debug)]
pub struct Basic {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

#[async_trait]
impl Authorize for Basic {
    async fn authorize(&self, _method: &Method, _url: &Url, _headers: &mut HeaderMap) -> Result<(), ConnectorError> {
        unimplemented!()
    }
}

/// No credential at all.
#[derive(Debug)]
pub struct Anonymous;

#[async_trait]
impl Authorize for Anonymous {
    async fn authorize(&self, _method: &Method, _url: &Url, _headers: &mut HeaderMap) -> Result<(), ConnectorError> {
        Ok(())
    }
}
