//! What reads Bitbucket's answers, opened for fuzzing. No part of the interface.

use serde::de::DeserializeOwned;

use super::Speech;
use super::wire::{
    Directories, ErrorBody, Group, GroupPermission, Licence, Page, Properties, User, UserPermission, gives_access,
};
use crate::contract::fault::ConnectorError;
use crate::http::api::Dialect;
use crate::http::wire::Answer;

/// How Bitbucket's HTTP is read.
pub fn dialect() -> &'static dyn Dialect {
    &Speech { has_token: false }
}

/// Reads an answer as each type that Bitbucket may answer with, and uses what was read as the connector does. Returns what
/// is said of the answer where it does not fit.
pub fn read_all(answer: &Answer) -> Vec<ConnectorError> {
    let mut said = Vec::new();
    each(answer, &mut said, |user: User| drop((user.key(), user.is_service())));
    each(answer, &mut said, |page: Page<User>| {
        let _ = (page.start, page.size, page.is_last_page, page.next_page_start);
        page.values.iter().for_each(|user| drop((user.key(), user.is_service())));
    });
    each(answer, &mut said, |page: Page<Group>| drop(page.values));
    each(answer, &mut said, |page: Page<GroupPermission>| {
        let _ = page.values.iter().filter(|held| gives_access(&held.permission) && !held.group.name.is_empty()).count();
    });
    each(answer, &mut said, |page: Page<UserPermission>| {
        let _ = page.values.iter().filter(|held| gives_access(&held.permission) && !held.user.name.is_empty()).count();
    });
    each(answer, &mut said, |told: Directories| {
        let written = |d: &super::wire::Directory| d.is_active() && (!d.is_read_only() || d.has_local_groups());
        let _ = told.into_vec().iter().filter(|directory| written(directory)).count();
    });
    each(answer, &mut said, |licence: Licence| {
        let _ = (licence.of(), licence.used());
    });
    each(answer, &mut said, |told: Properties| drop(told.version));
    let _ = ErrorBody::read(&answer.body).map(|error| (error.exception().len(), error.words()));
    said
}

fn each<T: DeserializeOwned>(answer: &Answer, said: &mut Vec<ConnectorError>, with: impl Fn(T)) {
    match answer.json() {
        Ok(value) => with(value),
        Err(error) => said.push(error),
    }
}
