//! The `http` table that every connector over HTTP takes. One type for all of them, so that an operator learns it once.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::secret::SecretRef;
use crate::contract::settings::SettingsError;

/// The `http` table that every connector over HTTP takes. Durations are written like `30s` or `2m`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// The most requests under way at once, from 1 to 64.
    pub concurrency: usize,
    /// The share of a rate limit that rosterd may use, from 0.01 to 1.0.
    pub rate_share: f64,
    /// Whether `http` is allowed to a host that is not this machine. Credentials then travel readable.
    pub allow_http: bool,
    /// Certificates (PEM) of authorities to trust besides the well-known ones.
    pub ca_file: Option<PathBuf>,
    /// The proxy to go through. Without it the variables `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are obeyed.
    pub proxy: Option<Url>,
    /// The credential that the proxy asks for.
    pub proxy_auth: Option<ProxyAuth>,
    /// The longest time for a request with its whole answer.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// The longest time until a connection stands.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// The longest silence while an answer is awaited or read.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub read_timeout: Duration,
    /// The largest answer, in bytes, once unpacked.
    pub max_body: u64,
    /// The longest wait, for a rate limit or a passing fault, that is waited out inside a run. A longer one ends the
    /// reading with the fault, and the retry queue takes over.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub max_wait: Duration,
    /// How often a request that changes nothing is tried, the first time included, from 1 to 20.
    pub attempts: u32,
}

/// A user name and a password for a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyAuth {
    /// The user name.
    pub username: String,
    /// Where the password is.
    pub password: SecretRef,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            concurrency: 4,
            rate_share: 0.5,
            allow_http: false,
            ca_file: None,
            proxy: None,
            proxy_auth: None,
            timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            max_body: 64 << 20,
            // A little over a minute: Okta's windows last a minute by the server's clock, and that in whole seconds.
            max_wait: Duration::from_secs(65),
            attempts: 4,
        }
    }
}

const LONGEST: Duration = Duration::from_secs(3600);

impl HttpSettings {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Every value out of its range, keys beginning with `http.`.
    pub fn check(&self) -> Result<(), SettingsError> {
        let mut wrong = SettingsError::default();
        let mut refuse = |key: &str, what: String, hint: &str| wrong.0.extend(SettingsError::one(key, what).hint(hint).0);

        if !(1..=64).contains(&self.concurrency) {
            refuse("concurrency", format!("{} is out of range", self.concurrency), "write a number from 1 to 64");
        }
        if !(0.01..=1.0).contains(&self.rate_share) {
            refuse("rate_share", format!("{} is out of range", self.rate_share), "write a number from 0.01 to 1.0");
        }
        if !(1..=20).contains(&self.attempts) {
            refuse("attempts", format!("{} is out of range", self.attempts), "write a number from 1 to 20");
        }
        if !(1..=4 << 30).contains(&self.max_body) {
            refuse("max_body", format!("{} is out of range", self.max_body), "write a number of bytes from 1 to 4294967296");
        }
        let limits = [("timeout", self.timeout), ("connect_timeout", self.connect_timeout), ("read_timeout", self.read_timeout)];
        for (key, value) in limits {
            if value.is_zero() || value > LONGEST {
                refuse(
                    key,
                    format!("{} is out of range", humantime::format_duration(value)),
                    "write more than 0s and at most 1h",
                );
            }
        }
        if self.max_wait > LONGEST {
            refuse("max_wait", format!("{} is out of range", humantime::format_duration(self.max_wait)), "write at most 1h");
        }
        match &self.proxy {
            Some(proxy) if !matches!(proxy.scheme(), "http" | "https") || !proxy.has_host() => {
                refuse("proxy", format!("{:?} is not a proxy's scheme", proxy.scheme()), "write http://host:port");
            }
            Some(proxy) if !proxy.username().is_empty() || proxy.password().is_some() => {
                refuse(
                    "proxy",
                    "a credential stands in the URL".into(),
                    "write it as proxy_auth = { username = …, password = { … } }",
                );
            }
            None if self.proxy_auth.is_some() => refuse("proxy_auth", "there is no proxy".into(), "set proxy too"),
            Some(_) | None => {}
        }
        if wrong.0.is_empty() { Ok(()) } else { Err(wrong.under("http")) }
    }
}

/// Durations as people write them.
mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|_| D::Error::custom(format!("{text:?} is not a duration such as \"30s\", \"2m\" or \"1h 30m\"")))
    }

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::settings::Settings;

    fn parse(toml: &str) -> Result<HttpSettings, SettingsError> {
        let file = config::File::from_str(toml, config::FileFormat::Toml);
        let table = config::Config::builder().add_source(file).build().expect("it is TOML");
        let value = table.get::<config::Value>("http").expect("it has the table");
        Settings { name: "x".into(), value }.parse::<HttpSettings>()
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        let read = parse("[http]\ntimeout = \"2m 5s\"\nmax_wait = \"0s\"\nconcurrency = 8").expect("valid");
        assert_eq!((read.timeout, read.max_wait, read.concurrency), (Duration::from_secs(125), Duration::ZERO, 8));
        read.check().expect("in range");
        let wrong = parse("[http]\ntimeout = \"soon\"").expect_err("not a duration");
        assert_eq!(wrong.0[0].key, "timeout");
        assert!(wrong.0[0].what.contains("\"soon\" is not a duration"), "{wrong}");
    }

    #[test]
    fn every_value_out_of_range_is_reported_at_once_with_its_key() {
        let wrong = HttpSettings {
            concurrency: 0,
            rate_share: 1.5,
            attempts: 0,
            max_body: 0,
            timeout: Duration::ZERO,
            max_wait: Duration::from_secs(7200),
            proxy: Url::parse("http://me:word@proxy:3128").ok(),
            ..HttpSettings::default()
        };
        let found = wrong.check().expect_err("all are wrong");
        let keys: Vec<_> = found.0.iter().map(|f| f.key.as_str()).collect();
        let all = ["concurrency", "rate_share", "attempts", "max_body", "timeout", "max_wait", "proxy"];
        assert_eq!(keys, all.map(|key| format!("http.{key}")));
        assert!(!found.to_string().contains("word"), "a password must not be repeated");
        assert!(HttpSettings { rate_share: f64::NAN, ..HttpSettings::default() }.check().is_err());
    }

    #[test]
    fn the_schema_shows_durations_as_text() {
        let schema = serde_json::to_value(schemars::schema_for!(HttpSettings)).expect("it is JSON");
        assert_eq!(schema["properties"]["timeout"]["type"], "string");
        assert_eq!(schema["properties"]["timeout"]["default"], "2m");
    }
}
