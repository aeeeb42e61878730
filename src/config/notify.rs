//! Webhooks: their URLs are read and looked at, and nothing is sent.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::names;
use super::raw;
use super::scribe::Scribe;
use crate::contract::notice::Topic;
use crate::contract::settings::path::KeyPath;
use crate::http::secret::SecretRef;
use crate::http::webhook::Webhook;

/// What a message looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The event with its fields, for programs.
    #[default]
    Json,
    /// A text in Slack's markup, which Mattermost and Rocket.Chat take as well.
    Slack,
}

/// A webhook that is told what needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Where its URL is.
    pub url: SecretRef,
    /// What a message looks like.
    pub format: Format,
    /// What is told; at least one thing.
    pub on: BTreeSet<Topic>,
}

/// Checks the webhooks.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, hooks: BTreeMap<String, raw::Notify>) -> BTreeMap<String, Notify> {
    let mut checked = BTreeMap::new();
    for (name, raw::Notify { url, format, on }) in hooks {
        let at = path.key(&name);
        names::given_name(scribe, &at, &name);
        if on.as_ref().is_some_and(Vec::is_empty) {
            let hint = "leave `on` out for everything, or the table out for nothing".to_owned();
            scribe.error(&at.key("on"), "this webhook is told nothing", hint);
        }
        if let Err(error) = Webhook::new("url", &url, &scribe.checks.kit.secrets) {
            scribe.settings(&at, error.0);
        }
        let on = on.map_or_else(|| Topic::ALL.into(), |topics| topics.into_iter().collect());
        checked.insert(name, Notify { url, format: format.unwrap_or_default(), on });
    }
    checked
}
