//! The connector author's toolbox: one client, pages read to the end, rate budgets, credentials, fault classification.
//! Only this folder builds an HTTP client.

pub mod address;
pub mod api;
pub mod atlassian;
pub mod auth;
pub mod budget;
mod client;
pub mod collector;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod judge;
pub mod kind;
pub mod latch;
pub mod lifetime;
pub mod meter;
pub mod page;
pub mod secret;
pub mod seen;
pub mod settings;
mod wall;
pub mod webhook;
pub mod wire;

#[cfg(test)]
mod tests;
