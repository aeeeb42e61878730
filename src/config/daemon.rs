//! The daemon's own settings.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;

use super::document::password_in_url;
use super::names;
use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;
use crate::http::secret::SecretRef;

/// Where the journal is kept if nothing is said.
pub const DEFAULT_STATE: &str = "sqlite:/var/lib/rosterd/state.db";

/// Where the daemon listens if nothing is said: nobody else's machine can reach it.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9640);

/// What the token of `daemon.token` is called.
const PLAIN: &str = "token";

/// More often than this no file is looked at.
const OFTEN: Duration = Duration::from_millis(100);

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Read `/metrics`, which names nobody, and nothing else.
    Metrics,
    /// Look.
    Read,
    /// Look, start runs, decide on what waits, release, undo.
    Write,
}

/// A bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The key that says where it is.
    pub key: KeyPath,
    /// Where it is.
    pub secret: SecretRef,
    /// What its holder may do.
    pub may: Right,
}

/// The daemon's own settings.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Where the journal is kept: `sqlite:…` or `postgres://…`, without a password.
    pub state: String,
    /// The password of the PostgreSQL store.
    pub state_password: Option<SecretRef>,
    /// Where health, metrics and status are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// The bearer tokens of requests by name; there is one where others than this machine can reach `listen`.
    pub tokens: BTreeMap<String, Token>,
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
    let raw::Daemon { state, state_password, listen, token, tokens, timezone, drain, keep_runs, watch } = raw;
    if let Some(reference) = &state_password {
        scribe.secret(&path.key("state_password"), reference);
    }
    let tokens = check_tokens(scribe, path, token, tokens);
    let day = Duration::from_secs(24 * 3600);
    let keep = path.key("keep_runs");
    let keep_runs = scribe.duration(&keep, keep_runs.as_deref(), 90 * day);
    if keep_runs < day {
        scribe.error(&keep, "runs must be kept for a day at least", "the limits of 24 hours count them".to_owned());
    }
    let listen = check_listen(scribe, &path.key("listen"), listen);
    if let Some(address) = listen.filter(|address| !address.ip().is_loopback())
        && tokens.is_empty()
    {
        let hint = r#"set daemon.token = { file = "/path" } or [daemon.tokens.NAME] too, or listen on 127.0.0.1 and put a proxy with a login in front"#;
        let what = format!("{address} can be reached from other machines, and there is no daemon.token");
        scribe.error(&path.key("listen"), what, hint.to_owned());
    }
    Daemon {
        state: check_state(scribe, &path.key("state"), state),
        state_password,
        listen,
        tokens,
        timezone: scribe.timezone(&path.key("timezone"), timezone.as_deref(), Tz::UTC),
        drain: scribe.duration(&path.key("drain"), drain.as_deref(), Duration::from_secs(25)),
        keep_runs,
        watch: check_watch(scribe, &path.key("watch"), watch.as_deref()),
    }
}

/// One table of tokens, of whichever key.
fn check_tokens(
    scribe: &mut Scribe<'_>,
    path: &KeyPath,
    token: Option<SecretRef>,
    named: BTreeMap<String, raw::Token>,
) -> BTreeMap<String, Token> {
    let mut tokens = BTreeMap::new();
    for (name, raw::Token { secret, may }) in named {
        let at = path.key("tokens").key(&name);
        names::given_name(scribe, &at, &name);
        tokens.insert(name, Token { key: at.key("secret"), secret, may });
    }
    if let Some(secret) = token {
        let key = path.key("token");
        if tokens.contains_key(PLAIN) {
            let hint = "give the other a name of its own, or leave daemon.token out".to_owned();
            scribe.error_at_key(&path.key("tokens").key(PLAIN), "this name is the one of daemon.token", hint);
        }
        tokens.insert(PLAIN.to_owned(), Token { key, secret, may: Right::Read });
    }
    for token in tokens.values() {
        scribe.secret(&token.key, &token.secret);
    }
    tokens
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
