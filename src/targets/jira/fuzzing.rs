//! What reads Jira's answers, opened for fuzzing. No part of the interface.

use serde::de::DeserializeOwned;

use super::JiraDialect;
use super::wire::{Errors, Page, Permissions, Picker, Role, Roles, ServerInfo, Stream, User};
use crate::contract::fault::ConnectorError;
use crate::http::api::Dialect;
use crate::http::lifetime;
use crate::http::wire::Answer;

/// How Jira's HTTP is read.
pub fn dialect() -> &'static dyn Dialect {
    &JiraDialect
}

/// Reads an answer as each type that Jira may answer with, and uses what was read as the connector does. Returns what is
/// said of the answer where it does not fit.
pub fn read_all(answer: &Answer) -> Vec<ConnectorError> {
    let mut said = Vec::new();
    each(answer, &mut said, |user: User| drop(user.into_target()));
    each(answer, &mut said, |users: Vec<User>| users.into_iter().for_each(|user| drop(user.into_target())));
    each(answer, &mut said, |page: Page| page.values.into_iter().for_each(|user| drop(user.into_target())));
    each(answer, &mut said, |page: Stream| drop((page.next_cursor.map(super::wire::Cursor::into_text), page.values)));
    each(answer, &mut said, |picker: Picker| drop((picker.total, picker.groups)));
    each(answer, &mut said, |server: ServerInfo| drop((server.version, server.version_numbers, server.deployment_type)));
    each(answer, &mut said, |may: Permissions| {
        let _ = may.has("ADMINISTER");
    });
    each(answer, &mut said, |role: Role| drop((role.used(), role.of(), role.groups, role.name, role.key)));
    each(answer, &mut said, |roles: Roles| {
        roles.into_vec().into_iter().for_each(|role| drop((role.used(), role.of(), role.key)));
    });
    said.extend(lifetime::fuzzing::read(answer));
    if let Some(errors) = Errors::of(answer) {
        let _ = (errors.texts().count(), errors.fields().len(), errors.words());
    }
    said
}

fn each<T: DeserializeOwned>(answer: &Answer, said: &mut Vec<ConnectorError>, with: impl Fn(T)) {
    match answer.json() {
        Ok(value) => with(value),
        Err(error) => said.push(error),
    }
}
