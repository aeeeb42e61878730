//! The way to a collector of traces: a client of our own under OpenTelemetry's exporter, so that authorities, time limits and the
//! one TLS provider are those of everything else.
//!
//! The exporter calls from a thread that belongs to no runtime; the request is made on the daemon's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use url::Url;

use super::client::{self, trouble};
use super::secret::Secrets;
use super::settings::HttpSettings;
use crate::contract::settings::SettingsError;

/// A collector.
pub struct Collector {
    client: Client,
    authorization: Option<HeaderValue>,
    runtime: Handle,
    /// Whether the last message was not taken: said once, not once a message.
    failing: AtomicBool,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    /// Builds the client. Sends nothing. To be called within a runtime.
    ///
    /// # Errors
    /// A token that no header can hold, a client that cannot be built.
    pub fn new(url: &Url, token: Option<SecretString>, timeout: Duration, secrets: &Secrets) -> Result<Self, SettingsError> {
        let http = HttpSettings { timeout, connect_timeout: timeout / 2, read_timeout: timeout, ..HttpSettings::default() };
        let header = |token: SecretString| {
            let header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut header = header.map_err(|_| SettingsError::one("token", "the secret cannot stand in a header"))?;
            header.set_sensitive(true);
            Ok(header)
        };
        Ok(Self {
            client: client::build(url, &http, secrets)?,
            authorization: token.map(header).transpose()?,
            runtime: Handle::current(),
            failing: AtomicBool::new(false),
        })
    }

    fn tell(&self, failed: Option<&str>) {
        let before = self.failing.swap(failed.is_some(), Ordering::Relaxed);
        match failed {
            Some(why) if !before => tracing::warn!("traces are not taken by the collector: {why}"),
            None if before => tracing::info!("traces are taken by the collector again"),
            Some(_) | None => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let mut request = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answer = self.runtime.spawn(async move {
            let answer = request.send().await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        match answer.await? {
            Ok((status, body)) => {
                let why = format!("it answered {}", status.as_u16());
                self.tell((!status.is_success()).then_some(why.as_str()));
                Ok(Response::builder().status(status).body(body)?)
            }
            Err(error) => {
                let why = trouble(error).why;
                self.tell(Some(&why));
                Err(why.into())
            }
        }
    }
}
