//! Credentials on requests. Each header is marked sensitive, so that no dump of a request shows it.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::contract::fault::{ConnectorError, Fault};

/// Puts a credential on each request.
#[async_trait]
pub trait Authorize: Send + Sync {
    /// Adds the headers for a request that is about to be sent. Called anew for each try. The error's system is set by
    /// the caller, which knows it.
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
    async fn authorize(&self, _method: &Method, _url: &Url, headers: &mut HeaderMap) -> Result<(), ConnectorError> {
        put(headers, format!("{} {}", self.scheme, self.token.expose_secret()))
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
    async fn authorize(&self, _method: &Method, _url: &Url, headers: &mut HeaderMap) -> Result<(), ConnectorError> {
        if self.username.contains(':') {
            // The other side would take what follows the colon for the password, and count a failed login.
            return Err(unfit("a user name with a colon cannot be sent by Basic authentication"));
        }
        put(headers, format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password.expose_secret()))))
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

fn put(headers: &mut HeaderMap, value: String) -> Result<(), ConnectorError> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| unfit("the credential holds a line break or another character that no header may hold"))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

fn unfit(why: &str) -> ConnectorError {
    ConnectorError::new(&"".into(), "", Fault::Refused, why).hint("check the place that the credential is read from")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn header_of(auth: &dyn Authorize) -> Result<HeaderValue, ConnectorError> {
        let mut headers = HeaderMap::new();
        let url = Url::parse("https://example.com/").expect("valid");
        auth.authorize(&Method::GET, &url, &mut headers).await?;
        Ok(headers.remove(AUTHORIZATION).expect("it was added"))
    }

    #[tokio::test]
    async fn credentials_are_sent_as_told_and_do_not_print() {
        let token = header_of(&Token { scheme: "SSWS", token: "00a".into() }).await.expect("fit");
        assert_eq!(token, "SSWS 00a");
        assert_eq!(format!("{token:?}"), "Sensitive");
        let basic = header_of(&Basic { username: "rosterd".into(), password: "gr\u{fc}n".into() }).await.expect("fit");
        assert_eq!(basic, "Basic cm9zdGVyZDpncsO8bg==");
    }

    #[tokio::test]
    async fn a_credential_that_no_header_can_hold_is_refused_without_being_shown() {
        let error = header_of(&Token { scheme: "Bearer", token: "secret\n".into() }).await.expect_err("a line break");
        assert_eq!(error.fault, Fault::Refused);
        assert!(!format!("{error:?}").contains("secret"));
        assert!(header_of(&Basic { username: "a:b".into(), password: "c".into() }).await.is_err());
    }
}
