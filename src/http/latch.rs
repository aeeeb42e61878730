//! The latch of a system: once a credential was refused nothing more is sent with it, until a person says so or it is another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::contract::fault::ConnectorError;
use crate::model::key::SystemName;

/// The refusal that keeps a client from sending; none while it may send.
#[derive(Clone, Debug, Default)]
pub(super) struct Latch(Arc<Mutex<Option<ConnectorError>>>);

impl Latch {
    /// The refusal, if there was one.
    pub(super) fn refusal(&self) -> Option<ConnectorError> {
        locked(&self.0).clone()
    }

    /// Shuts it. True if it was open.
    pub(super) fn shut(&self, error: &ConnectorError) -> bool {
        let mut refused = locked(&self.0);
        let was_open = refused.is_none();
        refused.get_or_insert_with(|| error.clone());
        was_open
    }
}

/// The latches of the systems' clients. A client that is built anew, with whatever credential there is now, has one of its own.
#[derive(Debug, Default)]
pub struct Latches(Mutex<BTreeMap<SystemName, Latch>>);

impl Latches {
    /// That of a new client.
    pub(super) fn fresh(&self, system: &SystemName) -> Latch {
        let latch = Latch::default();
        locked(&self.0).insert(system.clone(), latch.clone());
        latch
    }

    /// Opens a system's latch: the same credential is tried once more.
    pub fn open(&self, system: &SystemName) {
        if let Some(latch) = locked(&self.0).get(system) {
            *locked(&latch.0) = None;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
