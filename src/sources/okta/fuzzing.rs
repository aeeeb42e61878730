//! What reads Okta's answers, opened for fuzzing. No part of the interface.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::dialect::{self, OktaDialect, OktaError};
use super::oauth::{TokenAnswer, TokenError};
use super::probe::Me;
use super::settings::Statuses;
use super::single::{Found, Identified};
use super::wire::{App, AppGroup, AppUser, Group, User, read};
use crate::contract::fault::ConnectorError;
use crate::contract::source::Attributes;
use crate::http::api::Dialect;
use crate::http::wire::Answer;

/// How Okta's HTTP is read.
pub fn dialect() -> &'static dyn Dialect {
    &OktaDialect
}

/// Reads an answer as each type that Okta may answer with, and uses what was read as the connector does. Returns what is
/// said of the answer where it does not fit.
pub fn read_all(answer: &Answer) -> Vec<ConnectorError> {
    let mut said = Vec::new();
    each::<User<'_>>(answer, &mut said, unfold);
    each::<Group<'_>>(answer, &mut said, group);
    each::<AppUser<'_>>(answer, &mut said, |entry| entry.user().into_iter().for_each(unfold));
    each::<AppGroup<'_>>(answer, &mut said, |entry| entry.group().into_iter().for_each(group));
    each::<App<'_>>(answer, &mut said, |app| {
        let _ = (app.status.len(), app.label.is_some());
    });
    each::<Me>(answer, &mut said, |me| {
        let _ = me.login().len();
    });
    each::<Identified>(answer, &mut said, |one| {
        let _ = one.id.len();
    });
    each::<Found>(answer, &mut said, |one| {
        let _ = (one.id.len(), one.status.len());
    });
    if let Err(error) = answer.json::<TokenAnswer>().map(|told| told.shape()) {
        said.push(error);
    }
    let _ = serde_json::from_slice::<TokenError>(&answer.body).map(|told| told.shape());
    if let Some(error) = OktaError::of(answer) {
        let _ = error.to_string();
    }
    let _ = dialect::challenge(&answer.headers, "scope");
    said
}

/// By itself and as a page of many.
fn each<'a, T: Deserialize<'a>>(answer: &'a Answer, said: &mut Vec<ConnectorError>, with: impl Fn(&T)) {
    match read::<T>(answer) {
        Ok(one) => with(&one),
        Err(error) => said.push(error),
    }
    match read::<Vec<T>>(answer) {
        Ok(many) => many.iter().for_each(with),
        Err(error) => said.push(error),
    }
}

fn unfold(user: &User<'_>) {
    let Ok(statuses) = Statuses::new(&BTreeMap::new()) else { return };
    let some = Attributes::Named(["costCenter".to_owned()].into());
    for keep in [Attributes::None, some, Attributes::All] {
        let _ = user.unfold(&statuses, &keep).map(|unfolded| (unfolded.user, unfolded.status_known));
    }
}

fn group(group: &Group<'_>) {
    let _ = (group.id.len(), group.name(), group.kind(), group.counted_empty());
}
