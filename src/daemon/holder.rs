//! This process as a holder of leases, and whether another holder is gone.
//!
//! A lease outlives the process that took it, and whoever starts next would wait until it runs out. Where the holder's
//! process id can be looked at, its absence says sooner that nobody is at work. That is judged only where it is certain:
//! on the same boot, in the same process namespace (two containers may both have a process 1 and one host name), and
//! for a process of the same user (of other users' processes `/proc` may be mounted to show nothing). A process id is
//! used again, so the time at which the process started goes with it. In every other case the lease has to run out.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

/// This process: `host:pid:start:boot:namespace:user`, the last four empty where the machine does not tell.
pub fn mark() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let pid = std::process::id();
    let start = match stat(&pid.to_string()) {
        Ok(Some(stat)) => stat.start,
        Ok(None) | Err(_) => String::new(),
    };
    format!("{}:{pid}:{start}:{}", host.trim().replace(':', "_"), place())
}

/// Where process ids mean the same as here, and whose processes can be seen.
fn place() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace =
        fs::read_link("/proc/self/ns/pid").map(|l| l.to_string_lossy().replace([':', '[', ']'], "")).unwrap_or_default();
    let user = fs::metadata("/proc/self").map(|m| m.uid().to_string()).unwrap_or_default();
    format!("{}:{namespace}:{user}", boot.trim())
}

/// Whether the process of a holder is known to be gone; false where it cannot be known.
pub fn gone(holder: &str) -> bool {
    let parts: Vec<&str> = holder.split(':').collect();
    let [_host, pid, start, boot, namespace, user, ..] = parts[..] else { return false };
    if [start, boot, namespace, user].contains(&"") || format!("{boot}:{namespace}:{user}") != place() {
        return false;
    }
    match stat(pid) {
        Ok(None) => true,
        Ok(Some(stat)) => stat.start != start || stat.ended,
        Err(_) => false,
    }
}

/// What is read of a process.
struct Stat {
    /// When it started, in ticks since the boot.
    start: String,
    /// Whether it has ended and only waits for its parent to notice.
    ended: bool,
}

/// Reads a process's state; `None` if there is no such process. The layout:
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>, where the start is field 22.
fn stat(pid: &str) -> Result<Option<Stat>, ()> {
    if pid.is_empty() || !pid.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    let text = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(()),
    };
    // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    let (_, rest) = text.rsplit_once(") ").ok_or(())?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let (state, start) = (fields.first().ok_or(())?, fields.get(19).ok_or(())?);
    Ok(Some(Stat { start: (*start).to_owned(), ended: matches!(*state, "Z" | "X") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process's mark with one part changed.
    fn with(at: usize, value: &str) -> String {
        let mark = mark();
        let mut parts: Vec<&str> = mark.split(':').collect();
        parts[at] = value;
        parts.join(":")
    }

    #[test]
    fn a_living_process_is_not_gone() {
        assert!(!gone(&mark()));
        assert!(!gone(&format!("{}:some-run", mark())));
    }

    #[test]
    fn a_process_that_ended_is_gone_even_before_its_parent_has_noticed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let pid = child.id().to_string();
        let start = stat(&pid).expect("readable").expect("there").start;
        let mark = mark();
        let parts: Vec<&str> = mark.split(':').collect();
        let holder = [&[parts[0], pid.as_str(), start.as_str()], &parts[3..]].concat().join(":");
        assert!(!gone(&holder));
        child.kill().expect("it can be ended");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !gone(&holder) {
            assert!(std::time::Instant::now() < deadline, "an ended process that nobody has waited for is gone");
            std::thread::yield_now();
        }
        child.wait().expect("it ended");
        assert!(gone(&holder));
    }

    #[test]
    fn a_process_id_that_is_used_again_is_told_apart_by_its_start() {
        assert!(gone(&with(2, "1")));
    }

    #[test]
    fn what_cannot_be_judged_from_here_is_not_called_gone() {
        for (at, value) in [(1, "not-a-pid"), (1, ""), (2, ""), (3, "another-boot"), (4, "pid1"), (5, "12345")] {
            let holder = with(at, value);
            assert!(!gone(&holder), "{holder}");
        }
        for holder in ["", "host", "host:1:2", "host:4194304:uuid"] {
            assert!(!gone(holder), "{holder}");
        }
    }
}
