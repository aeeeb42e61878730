//! The machine's clock: the one place that asks it for the time.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::contract::clock::Clock;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
