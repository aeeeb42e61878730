//! The daemon's own settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono_tz::Tz;

use super::document::password_in_url;
use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;
use crate::http::secret::SecretRef;

/// Where the journal is kept if nothing is said.
pub const DEFAULT_STATE: &str = "sqlite:/var/lib/rosterd/state.db";

/// Where the daemon listens if nothing is said: nobody else's machine can reach it.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9640);

/// More often than this no file is looked at.
const OFTEN: Duration = Duration::from_millis(100);

/// The daemon's own settings.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Where the journal is kept: `sqlite:…` or `postgres://…`, without a password.
    pub state: String,
    /// The password of the PostgreSQL store.
    pub state_password: Option<SecretRef>,
    /// Where health, metrics and status are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// The bearer token of requests; always there where others than this machine can reach `listen`.
    pub token: Option<SecretRef>,
    /// The zone of schedules that name none.
    pub timezone: Tz,
    /// How long a stopping daemon may finish what it has in hand.
    pub drain: Duration,
    /// How long finished runs stay in the journal.
    pub keep_runs: Duration,
    /// How often the file and the secrets are looked at for changes; `None`: only a signal has them read again.
    pub watch: Option<Duration>,
}

/// Checks the daemon's settings.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Daemon) -> Daemon {
    let raw::Daemon { state, state_password, listen, token, timezone, drain, keep_runs, watch } = raw;
    for (key, reference) in [("state_password", &state_password), ("token", &token)] {
        if let Some(reference) = reference {
            scribe.secret(&path.key(key), reference);
        }
    }
    let day = Duration::from_secs(24 * 3600);
    let keep = path.key("keep_runs");
    let keep_runs = scribe.duration(&keep, keep_runs.as_deref(), 90 * day);
    if keep_runs < day {
        scribe.error(&keep, "runs must be kept for a day at least", "the limits of 24 hours count them".to_owned());
    }
    let listen = check_listen(scribe, &path.key("listen"), listen);
    if let Some(address) = listen.filter(|address| !address.ip().is_loopback())
        && token.is_none()
    {
        let hint = r#"set daemon.token = { file = "/path" } too, or listen on 127.0.0.1 and put a proxy with a login in front"#;
        let what = format!("{address} can be reached from other machines, and there is no daemon.token");
        scribe.error(&path.key("listen"), what, hint.to_owned());
    }
    Daemon {
        state: check_state(scribe, &path.key("state"), state),
        state_password,
        listen,
        token,
        timezone: scribe.timezone(&path.key("timezone"), timezone.as_deref(), Tz::UTC),
        drain: scribe.duration(&path.key("drain"), drain.as_deref(), Duration::from_secs(25)),
        keep_runs,
        watch: check_watch(scribe, &path.key("watch"), watch.as_deref()),
    }
}

fn check_watch(scribe: &mut Scribe<'_>, path: &KeyPath, watch: Option<&str>) -> Option<Duration> {
    let text = watch.filter(|text| *text != "off")?;
    let every = scribe.duration(path, Some(text), Duration::from_secs(10));
    if every < OFTEN {
        scribe.error(path, "files are looked at every 100ms at the most", r#""10s" is often enough"#.to_owned());
    }
    Some(every)
}

fn check_state(scribe: &mut Scribe<'_>, path: &KeyPath, state: Option<String>) -> String {
    let Some(state) = state else { return DEFAULT_STATE.to_owned() };
    if password_in_url(&state).is_some() {
        let hint = r#"leave it out of the URL and write state_password = { env = "NAME" }, { file = "/path" } or { credential = "name" }"#;
        scribe.error(path, "the URL holds a password", hint.to_owned());
    }
    let known = ["sqlite:", "postgres://", "postgresql://"]
        .iter()
        .any(|scheme| state.strip_prefix(scheme).is_some_and(|rest| !rest.trim_start_matches('/').is_empty()));
    if !known {
        let hint = r#"write "sqlite:/path/state.db" or "postgres://user@host/database""#.to_owned();
        scribe.error(path, "this names no state store", hint);
    }
    state
}

fn check_listen(scribe: &mut Scribe<'_>, path: &KeyPath, listen: Option<String>) -> Option<SocketAddr> {
    let Some(listen) = listen else { return Some(DEFAULT_LISTEN) };
    if listen == "off" {
        return None;
    }
    let parsed = listen.parse();
    if parsed.is_err() {
        let hint = r#"write an IP address and a port, such as "127.0.0.1:9640" or "[::1]:9640", or "off""#.to_owned();
        scribe.error(path, format!("{listen:?} is not an address to listen at"), hint);
    }
    parsed.ok()
}
