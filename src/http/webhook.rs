//! A webhook: one POST to a URL that is a secret, since whoever knows it can write there. It speaks to nobody's API, so it has
//! no budget, no pages and no retries of its own: whoever sends decides when to try again.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::address::is_loopback;
use super::client::{self, trouble};
use super::secret::{SecretRef, Secrets};
use super::settings::HttpSettings;
use super::wall::retry_after;
use crate::contract::settings::SettingsError;

/// How long one message may take in all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A webhook, ready to be sent to.
pub struct Webhook {
    client: Client,
    url: SecretString,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook(…)")
    }
}

/// Why a message did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Why, for a person. Holds neither the URL nor anything of the answer's body.
    pub why: String,
    /// Whether the same message may arrive later.
    pub passing: bool,
    /// How long the receiver asked to be left alone.
    pub after: Option<Duration>,
}

impl Webhook {
    /// Reads and checks the URL, `https` only unless the host is this machine. Sends nothing.
    ///
    /// # Errors
    /// A secret that cannot be read or is no such URL, at `key`; never with the URL in it.
    pub fn new(key: &str, reference: &SecretRef, secrets: &Secrets) -> Result<Self, SettingsError> {
        let secret = secrets.read(key, reference)?;
        let refuse = |what: &str| SettingsError::one(key, what).hint("put a whole URL there: https://…");
        // What the parser says of it may repeat a part.
        let url = Url::parse(secret.expose_secret().trim()).map_err(|_| refuse("the secret is not a URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(refuse("the secret is a URL without https, so it would travel readable")),
            _ => return Err(refuse("the secret is a URL of a scheme that rosterd does not speak")),
        }
        let http =
            HttpSettings { timeout: TIMEOUT, connect_timeout: TIMEOUT / 2, read_timeout: TIMEOUT, ..HttpSettings::default() };
        let client = client::build(&url, &http, secrets)
            .map_err(|error| SettingsError::one(key, error.0.first().map_or_else(String::new, |finding| finding.what.clone())))?;
        Ok(Self { client, url: SecretString::from(url.to_string()) })
    }

    /// Sends one message and looks at the status alone.
    ///
    /// # Errors
    /// Any answer but 200 to 299, and none in time.
    pub async fn send(&self, message: &serde_json::Value) -> Result<(), Undelivered> {
        let sent = self.client.post(self.url.expose_secret()).json(message).send().await;
        let answer = match sent {
            Ok(answer) => answer,
            // The settings that a hint would name are not a webhook's.
            Err(error) => return Err(Undelivered { why: trouble(error).why, passing: true, after: None }),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let (why, passing) = verdict(status);
        Err(Undelivered { why, passing, after: retry_after(answer.headers()) })
    }
}

/// What a status other than success means. A refusal stays one: the URL was revoked, or the message is not understood.
fn verdict(status: StatusCode) -> (String, bool) {
    let code = status.as_u16();
    match code {
        408 | 425 | 429 | 500..=599 => (format!("it answered {code}"), true),
        300..=399 => (format!("it answered {code}, a redirect, which is not followed"), false),
        _ => (format!("it refused the message with {code}"), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(url: &str) -> Result<Webhook, SettingsError> {
        let env = [("HOOK".to_owned(), url.to_owned())].into();
        let reference = SecretRef { env: Some("HOOK".into()), file: None, credential: None };
        Webhook::new("url", &reference, &Secrets::with_env(env))
    }

    #[test]
    fn a_url_that_would_travel_readable_is_refused_and_none_is_repeated() {
        for right in ["https://hooks.example.com/T0/geheim?a=b", "http://127.0.0.1:9/geheim", " https://example.com/x "] {
            let hook = webhook(right).expect("valid");
            assert_eq!(format!("{hook:?}"), "Webhook(…)");
        }
        for wrong in ["http://hooks.example.com/geheim", "ftp://geheim", "hooks.example.com/geheim", "https://:geheim", ""] {
            let refused = webhook(wrong).expect_err("refused").to_string();
            assert!(!refused.contains("geheim"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_for_good_and_trouble_passes() {
        let mut server = mockito::Server::new_async().await;
        let hook = webhook(&format!("{}/geheim", server.url())).expect("loopback");
        for (status, passing) in [(404, false), (302, false), (400, false), (429, true), (500, true), (503, true)] {
            let mock = server.mock("POST", "/geheim").with_status(status).with_header("retry-after", "7").create_async().await;
            let failed = hook.send(&serde_json::json!({})).await.expect_err("not delivered");
            assert_eq!((failed.passing, failed.after), (passing, Some(Duration::from_secs(7))), "{status}");
            assert!(failed.why.contains(&status.to_string()) && !failed.why.contains("geheim"), "{}", failed.why);
            mock.assert_async().await;
            mock.remove_async().await;
        }
        // A redirect is not followed, wherever it leads.
        let elsewhere = server.mock("POST", "/elsewhere").expect(0).create_async().await;
        let elsewhere_read = server.mock("GET", "/elsewhere").expect(0).create_async().await;
        for status in [301, 302, 303, 307, 308] {
            let location = format!("{}/elsewhere", server.url());
            let mock = server.mock("POST", "/geheim").with_status(status).with_header("location", &location).create_async().await;
            let failed = hook.send(&serde_json::json!({})).await.expect_err("not delivered");
            assert!(!failed.passing && failed.why.contains("a redirect, which is not followed"), "{failed:?}");
            mock.assert_async().await;
            mock.remove_async().await;
        }
        elsewhere.assert_async().await;
        elsewhere_read.assert_async().await;
        server.mock("POST", "/geheim").with_status(204).create_async().await;
        hook.send(&serde_json::json!({})).await.expect("delivered");
        let nobody = webhook("http://127.0.0.1:1/geheim").expect("loopback").send(&serde_json::json!({})).await;
        let failed = nobody.expect_err("nobody listens");
        assert!(failed.passing && !failed.why.contains("geheim"), "{failed:?}");
    }
}
