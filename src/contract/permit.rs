//! Leave to write: asked for right before each request that changes something at a target.
//!
//! One call of a target may be many requests, and each may wait in a rate limit, for a token, or for another try. Whoever asked
//! when the call began, and was paused or cut off from the store since, would write beside whoever has taken over. So the
//! question goes with the call, down to where requests leave: no connector can forget it, and a new one need not know of it.

use std::sync::Arc;

use super::journal::{Journal, JournalError};

tokio::task_local! {
    static BY: Arc<dyn Journal>;
}

/// Makes a call under the lease that this journal is fenced by: each of its requests that writes asks [`granted`] first. What
/// the call spawns is not covered; connectors spawn nothing.
pub async fn under<F: Future>(journal: &Arc<dyn Journal>, call: F) -> F::Output {
    BY.scope(journal.clone(), call).await
}

/// Whether a request that writes may leave now. Always, where nobody works by a lease.
///
/// # Errors
/// The lease is lost, or the store cannot say: see [`Journal::standing`].
pub async fn granted() -> Result<(), JournalError> {
    match BY.try_with(Arc::clone) {
        Ok(journal) => journal.standing().await,
        Err(_) => Ok(()),
    }
}
