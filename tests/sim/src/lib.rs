//! Simulated Okta, Jira, Confluence and Bitbucket over real HTTP, stateful, with their quirks, rate limits, and faults on
//! demand. For tests, benches and the demo; nothing of it is in the rosterd binary.

pub mod bitbucket;
pub mod confluence;
pub mod conform;
pub mod directory;
pub mod estate;
pub mod gate;
pub mod harness;
pub mod jira;
pub mod okta;
pub mod postgres;
pub mod route;
pub mod world;
