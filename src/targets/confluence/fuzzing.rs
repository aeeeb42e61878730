//! What reads Confluence's answers, opened for fuzzing. No part of the interface.

use serde::de::DeserializeOwned;

use super::Speech;
use super::wire::{Count, Created, ErrorBody, Group, Manifest, Page, Person, Started, Task};
use crate::contract::fault::ConnectorError;
use crate::http::api::Dialect;
use crate::http::lifetime;
use crate::http::wire::Answer;

/// How Confluence's HTTP is read.
pub fn dialect() -> &'static dyn Dialect {
    &Speech
}

/// Reads an answer as each type that Confluence may answer with, and uses what was read as the connector does. Returns what
/// is said of the answer where it does not fit.
pub fn read_all(answer: &Answer) -> Vec<ConnectorError> {
    let mut said = Vec::new();
    each(answer, &mut said, |person: Person| use_person(&person));
    each(answer, &mut said, |page: Page<Person>| {
        let _ = (page.total(), page.start, page.size, page.links.next.is_some());
        page.results.iter().for_each(use_person);
    });
    each(answer, &mut said, |page: Page<Group>| drop((page.total(), page.results)));
    each(answer, &mut said, |manifest: Manifest| drop((manifest.type_id, manifest.version)));
    each(answer, &mut said, |created: Created| drop(created.user_key));
    each(answer, &mut said, |started: Started| drop(started.id));
    each(answer, &mut said, |task: Task| drop((task.message(), task.percentage_complete, task.successful)));
    each(answer, &mut said, |told: Count| {
        let _ = told.count;
    });
    said.extend(lifetime::fuzzing::read(answer));
    let _ = ErrorBody::read(answer.status, &answer.body).map(|error| error.words());
    said
}

fn use_person(person: &Person) {
    let _ = (person.is_anonymous(), person.is_trace(), person.user());
}

fn each<T: DeserializeOwned>(answer: &Answer, said: &mut Vec<ConnectorError>, with: impl Fn(T)) {
    match answer.json() {
        Ok(value) => with(value),
        Err(error) => said.push(error),
    }
}
