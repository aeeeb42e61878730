//! The connector author's toolbox: one client, pages read to the end, rate budgets, credentials, fault classification.
//! Only this folder builds an HTTP client.

pub mod api;
pub mod atlassian;
pub mod auth;
pub mod budget;
pub mod kind;
pub mod meter;
pub mod page;
pub mod secret;
pub mod wire;
