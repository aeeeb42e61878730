//! What the engine is promised by the world: traits, and the faults they may answer with.

pub mod chain;
pub mod clock;
pub mod fault;
pub mod history;
pub mod journal;
pub mod notice;
pub mod permit;
pub mod run;
pub mod settings;
pub mod source;
pub mod target;
pub mod verdict;
