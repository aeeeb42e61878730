//! Who gave a command: written into the journal with what was decided.

/// The operating system user, as `os:NAME`; with whom sudo was asked by, where it was.
pub fn actor() -> String {
    let user = whoami::username().unwrap_or_else(|_| "unknown".to_owned());
    match std::env::var("SUDO_USER") {
        Ok(asked) if !asked.is_empty() && asked != user => format!("os:{asked} (as {user})"),
        Ok(_) | Err(_) => format!("os:{user}"),
    }
}
