//! The HTTP client of one system, and what its errors mean in plain words.

use std::error::Error;
use std::io::ErrorKind;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Certificate, Client, Proxy, redirect};
use secrecy::ExposeSecret;
use url::Url;

use super::address::is_loopback;
use super::secret::Secrets;
use super::settings::HttpSettings;
use crate::contract::settings::SettingsError;

/// Builds the client. One for each system, so that neither a proxy nor an authority of one is trusted for another.
pub(super) fn build(base: &Url, http: &HttpSettings, secrets: &Secrets) -> Result<Client, SettingsError> {
    // A second installation is refused, and means only that the provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();

    let mut client = Client::builder()
        .user_agent(concat!("rosterd/", env!("CARGO_PKG_VERSION")))
        // A redirect of an API is a wrong base URL or a login page: following it would answer a question nobody asked.
        .redirect(redirect::Policy::none())
        // Atlassian's XSRF check turns on a referer.
        .referer(false)
        .https_only(base.scheme() == "https")
        // With each answer comes the certificate, of which it is told when it ends.
        .tls_info(true)
        .timeout(http.timeout)
        .connect_timeout(http.connect_timeout)
        .read_timeout(http.read_timeout)
        // Many edges close idle connections after a minute; a request that meets the closing is lost.
        .pool_idle_timeout(Duration::from_secs(30))
        .tcp_keepalive(Duration::from_secs(30))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .http2_keep_alive_while_idle(true)
        // Without these a machine that has no store of certificates can build no client at all.
        .tls_certs_merge(well_known().iter().cloned());
    if let Some(path) = &http.ca_file {
        client = client.tls_certs_merge(authorities(path, secrets)?);
    }
    if let Some(url) = &http.proxy {
        client = client.proxy(proxy(url, http, secrets)?);
    } else if is_loopback(base) {
        client = client.no_proxy();
    }
    client.build().map_err(|e| {
        let key = if http.ca_file.is_some() { "http.ca_file" } else { "http" };
        SettingsError::one(key, format!("no client can be built: {}", root(&e)))
    })
}

fn well_known() -> &'static [Certificate] {
    static ROOTS: OnceLock<Vec<Certificate>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| Certificate::from_der(der).ok()).collect()
    })
}

fn authorities(path: &std::path::Path, secrets: &Secrets) -> Result<Vec<Certificate>, SettingsError> {
    let shown = path.display();
    let refuse = |what: String| SettingsError::one("http.ca_file", what).hint("name a file of certificates in PEM");
    let pem = std::fs::read(path);
    secrets.seen().note(path, pem.as_deref().ok());
    let pem = pem.map_err(|e| refuse(format!("cannot read {shown}: {e}")))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(refuse(format!("{shown} holds no certificate"))),
    }
}

fn proxy(url: &Url, http: &HttpSettings, secrets: &Secrets) -> Result<Proxy, SettingsError> {
    let proxy = Proxy::all(url.clone()).map_err(|_| SettingsError::one("http.proxy", "cannot be used as a proxy"))?;
    let Some(auth) = &http.proxy_auth else { return Ok(proxy) };
    let password = secrets.read("http.proxy_auth.password", &auth.password)?;
    Ok(proxy.basic_auth(&auth.username, password.expose_secret()))
}

/// What went wrong on the way, and what the reader can do about it.
pub(super) struct Trouble {
    pub(super) why: String,
    pub(super) hint: Option<&'static str>,
}

/// Says in plain words what a transport error means. The URL is left out: its query may hold people's data.
pub(super) fn trouble(error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    let plain = |why: &str, hint| Trouble { why: why.to_owned(), hint };
    let text = chain(&error);

    if error.is_dns() {
        return plain(
            "its host name could not be resolved",
            Some("check the host name in the base URL, and the resolver of this machine"),
        );
    }
    if let Some(tls) = find::<rustls::Error>(&error) {
        let hint = match tls {
            rustls::Error::InvalidCertificate(_) => {
                "if it uses a private authority, name that authority's certificate in http.ca_file"
            }
            _ => "check that this port of the system speaks https",
        };
        return Trouble { why: format!("the TLS connection failed: {tls}"), hint: Some(hint) };
    }
    if error.is_timeout() && error.is_connect() {
        return plain("it did not take the connection in time", Some("check host, port and firewalls"));
    }
    if error.is_timeout() {
        return plain("it did not answer in time", Some("http.timeout and http.read_timeout set how long is waited"));
    }
    match find::<std::io::Error>(&error).map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => {
            return plain("it refused the connection", Some("check host and port, and whether the system is up"));
        }
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted) => {
            return plain("the connection was reset", None);
        }
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
            return plain("there is no route to it", Some("check the network of this machine"));
        }
        Some(_) | None => {}
    }
    if error.is_body() || error.is_decode() {
        return plain("its answer was cut off or broken midway", None);
    }
    if text.contains("closed before message completed") {
        return plain("the connection was closed before an answer came", None);
    }
    if text.contains("tunnel") {
        return Trouble {
            why: format!("the proxy refused: {}", root(&error)),
            hint: Some("check http.proxy and http.proxy_auth"),
        };
    }
    Trouble { why: format!("the exchange failed: {}", root(&error)), hint: None }
}

/// The innermost error's text.
fn root(error: &(dyn Error + 'static)) -> String {
    links(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain(error: &(dyn Error + 'static)) -> String {
    links(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn links<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e| below(*e))
}

/// The error below. An I/O error hides the one that it wraps from `source`, which begins one further down.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    links(error).find_map(|e| e.downcast_ref::<E>())
}
