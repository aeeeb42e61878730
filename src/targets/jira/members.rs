//! The members of one group, read to the last page and counted.
//!
//! Jira gives 50 a page whatever is asked, so that a large group takes hundreds of requests, during which it may change. Each
//! page tells the total, the place where it starts and whether it is the last one; a reading counts only if all of them agree
//! and as many different members came as were announced. One that does not agree is done once more from the start, since a change meanwhile looks the same; then it
//! is an error, for a shortened group would turn into access that is granted twice or taken away.

use std::sync::atomic::Ordering;

use futures::stream::{self, StreamExt};
use rustc_hash::FxHashSet;

use super::Jira;
use super::wire::{Page, User};
use crate::contract::fault::{ConnectorError, Fault};
use crate::http::wire::Call;

/// The most that Jira gives.
const PAGE: usize = 50;

/// Reads a page of a group's members, inactive ones and those of subgroups among them. `None` only if Jira says that there
/// is no such group.
pub(super) async fn page(jira: &Jira, group: &str, start: usize) -> Result<Option<Page>, ConnectorError> {
    let call = Call::get("rest/api/2/group/member", doing(group))
        .query("groupname", group)
        .query("includeInactiveUsers", "true")
        .query("startAt", start)
        .query("maxResults", PAGE)
        .accept(404);
    let answer = jira.send(call).await?;
    if answer.status == 404 {
        jira.says_absent(&answer)?;
        return Ok(None);
    }
    answer.json().map(Some)
}

/// Reads all members of a group, going on from a first page if that was read before. `None` only if Jira says that there is
/// no such group.
///
/// # Errors
/// [`Fault::Incomplete`] if two readings in a row contradict themselves.
pub(super) async fn all(jira: &Jira, group: &str, first: Option<Page>) -> Result<Option<Vec<User>>, ConnectorError> {
    let mut first = first;
    let mut again = true;
    loop {
        let start = match first.take() {
            Some(page) => page,
            None => match page(jira, group, 0).await? {
                Some(page) => page,
                None => return Ok(None),
            },
        };
        match rest(jira, group, start).await? {
            Ok(members) => return Ok(Some(members)),
            Err(_) if again => again = false,
            Err(why) => {
                let error = jira.error(doing(group), Fault::Incomplete, why);
                return Err(
                    error.hint("the group changed while it was read, or Jira contradicts itself; the next run reads it anew")
                );
            }
        }
    }
}

/// Reads the pages after the first, several at a time: where they start is known as soon as the total is.
async fn rest(jira: &Jira, group: &str, first: Page) -> Result<Result<Vec<User>, String>, ConnectorError> {
    let (total, size) = (first.total, first.values.len());
    if let Err(why) = coherent(&first, 0, size.min(total), total) {
        return Ok(Err(why));
    }
    if size == 0 && total > 0 {
        return Ok(Err(format!("the first page is empty where {total} members are announced")));
    }
    let starts: Vec<usize> = (size..total).step_by(size.max(1)).collect();
    jira.api.meter().expected.fetch_add(starts.len() as u64, Ordering::Relaxed);
    let mut pages = stream::iter(starts)
        .map(|start| async move { page(jira, group, start).await.map(|page| (start, page)) })
        .buffered(jira.fanout);
    let mut members = first.values;
    while let Some(read) = pages.next().await {
        let (start, page) = read?;
        let Some(page) = page else {
            return Ok(Err("the group vanished while it was read".to_owned()));
        };
        if let Err(why) = coherent(&page, start, size.min(total - start), total) {
            return Ok(Err(why));
        }
        members.extend(page.values);
    }
    let different = members.iter().map(|user| user.key.as_str()).collect::<FxHashSet<_>>().len();
    if different != total {
        return Ok(Err(format!("{different} different members came where {total} are announced")));
    }
    Ok(Ok(members))
}

/// Whether a page is what the first page announced.
fn coherent(page: &Page, start: usize, size: usize, total: usize) -> Result<(), String> {
    if page.start_at != start {
        return Err(format!("a page starts at {} where {start} was asked for", page.start_at));
    }
    if page.total != total {
        return Err(format!("the total went from {total} to {}", page.total));
    }
    if page.values.len() != size {
        return Err(format!("a page at {start} of {total} holds {} members where {size} were due", page.values.len()));
    }
    if page.is_last != (start + size >= total) {
        return Err(format!("a page at {start} of {total} with {size} members says last: {}", page.is_last));
    }
    Ok(())
}

fn doing(group: &str) -> String {
    format!("list the members of group \"{group}\"")
}
