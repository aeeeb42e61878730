//! HUP, TERM and INT, as a stream.
//!
//! The first TERM or INT asks to finish; a second one ends the process at once, whatever it is doing. That part is armed
//! before the runtime starts, in the order that makes the first signal only arm it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook_tokio::SignalsInfo;

/// The exit code of a process ended by a second signal.
const ENDED_BY_SIGNAL: i32 = 130;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Read the configuration again.
    Reload,
    /// Finish and exit.
    Stop,
}

/// Makes the second TERM or INT end the process at once. To be called once, before the runtime starts.
///
/// # Errors
/// If the system does not let signals be handled.
pub fn arm() -> std::io::Result<()> {
    let armed = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, ENDED_BY_SIGNAL, armed.clone())?;
        signal_hook::flag::register(signal, armed.clone())?;
    }
    Ok(())
}

/// The stream of wishes.
pub struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system does not let signals be handled.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self(SignalsInfo::<WithOrigin>::new([SIGHUP, SIGTERM, SIGINT])?))
    }

    /// The next wish, with the process id of its sender where the system tells it.
    pub async fn next(&mut self) -> Option<(Wish, Option<i32>)> {
        let origin = self.0.next().await?;
        let wish = if origin.signal == SIGHUP { Wish::Reload } else { Wish::Stop };
        Some((wish, origin.process.map(|p| p.pid)))
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}
