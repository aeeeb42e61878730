//! The configuration: what it means, and what is said when it is wrong.
//!
//! The kinds of connectors are stand-ins that take what the real ones take, so that a connector's change of a key is its own
//! tests' business.

#[path = "config/environment.rs"]
mod environment;
#[path = "config/examples.rs"]
mod examples;
#[path = "config/mistakes.rs"]
mod mistakes;
#[path = "config/stand_ins.rs"]
mod stand_ins;

use rosterd::config::{Checked, Checks, ConfigError, Layers, check};
use rosterd::http::kind::Kit;
use rosterd::http::secret::Secrets;

/// The expressions' stand-in: parentheses must pair.
fn expression(text: &str) -> Result<(), String> {
    let open = text.matches('(').count();
    let shut = text.matches(')').count();
    if open == shut { Ok(()) } else { Err("a parenthesis is not closed".into()) }
}

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Checked, ConfigError> {
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let layers = Layers::from_texts(&[("rosterd.toml", text)], &environment)?;
    let urls =
        [("HOOK_URL", "https://hooks.example.com/T0/B0"), ("PLAIN_HOOK_URL", "http://hooks.example.com/T0/hunter2-hunter2")];
    let secrets = Secrets::with_env(urls.map(|(name, url)| (name.to_owned(), url.to_owned())).into());
    let kit = Kit { secrets, meters: Default::default(), latches: Default::default() };
    check(&layers, &Checks { expression: &expression, registry: &stand_ins::REGISTRY, kit: &kit })
}

fn load(text: &str) -> Result<Checked, ConfigError> {
    load_with(text, &[])
}
