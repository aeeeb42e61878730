//! Where traces of runs are sent, if anywhere.

use url::Url;

use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;
use crate::http::address::is_loopback;
use crate::http::secret::SecretRef;

/// A collector of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Its base URL, to which `/v1/traces` is added.
    pub otlp: Url,
    /// The bearer token that it asks for.
    pub token: Option<SecretRef>,
}

/// Checks the settings. Traces hold nothing of people and may travel readable within a cluster; a token may not.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Telemetry) -> Option<Telemetry> {
    let raw::Telemetry { otlp, token } = raw;
    if let Some(token) = &token {
        scribe.secret(&path.key("token"), token);
    }
    let Some(text) = otlp else {
        if token.is_some() {
            let hint = r#"name it by telemetry.otlp = "https://collector.example.com:4318", or leave the token out"#.to_owned();
            scribe.error(&path.key("token"), "there is a token and no collector", hint);
        }
        return None;
    };
    let at = path.key("otlp");
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url.filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none()) else {
        let hint = r#"write the base URL of a collector that speaks OTLP over HTTP: "http://127.0.0.1:4318""#.to_owned();
        scribe.error(&at, "this is no address of a collector", hint);
        return None;
    };
    if token.is_some() && url.scheme() == "http" && !is_loopback(&url) {
        scribe.error(&at, "the token would travel readable", "use https, or leave the token out".to_owned());
    }
    Some(Telemetry { otlp: url, token })
}
