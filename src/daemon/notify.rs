//! Messages to systemd. Where nobody listens they are nothing; a failing socket is worth a warning and no more.

use std::time::Duration;

use sd_notify::NotifyState;

/// Says that configuration, store and schedule stand.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that a reload begins. Both parts must be in one message, else `systemctl reload` hangs; and [`ready`] must follow,
/// also when the reload failed.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now, NotifyState::Status("reloading the configuration")]),
        Err(error) => tracing::warn!("the monotonic clock cannot be read for systemd: {error}"),
    }
}

/// Says that the daemon stops, within this time.
pub fn stopping(within: Duration) {
    let micros = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status("finishing the changes in hand")]);
}

/// Says how things are, in one line.
pub fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// Says that the supervisor is alive.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often systemd wants to hear that the supervisor is alive: a third of its limit. `None`: not at all.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 3)
}

/// Whether somebody hears what is said here.
pub fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd could not be told: {error}");
    }
}
