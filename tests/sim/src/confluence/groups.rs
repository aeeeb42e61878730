//! Groups and memberships: pages of 200, and writes that may be repeated.

use super::*;

pub(super) fn list_groups(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.known(ask)?;
    let directory = confluence.directory();
    Ok(Answer::json(200, &confluence.page(ask, 200, 200, directory.groups(), |g| confluence.group_bean(g))))
}

pub(super) fn get_group(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.known(ask)?;
    let directory = confluence.directory();
    let group = directory.group(ask.arg(0)).ok_or_else(|| no_group(ask.arg(0)))?;
    Ok(Answer::json(200, &confluence.group_bean(group)))
}

/// Newer versions show members to administrators only.
pub(super) fn list_members(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.known(ask)?;
    if confluence.version >= WRITES {
        confluence.admin(ask)?;
    }
    let directory = confluence.directory();
    let group = directory.group(ask.arg(0)).ok_or_else(|| no_group(ask.arg(0)))?;
    let show = |u| confluence.bean(&directory, u, ask);
    Ok(Answer::json(200, &confluence.page(ask, 200, 200, directory.members(group), show)))
}

/// Some versions do not understand a group without its `type`.
pub(super) fn create_group(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.since(WRITES, ask)?;
    confluence.admin(ask)?;
    let body = object(ask)?;
    if text(&body, "type") != "group" {
        return Err(refusal(400, "Could not resolve type id of com.atlassian.confluence.api.model.people.Group"));
    }
    let name = text(&body, "name");
    if name.is_empty() {
        return Err(refusal(400, "A group needs a name."));
    }
    let mut directory = confluence.directory();
    let taken = |_| refusal(409, &format!("A group with the name {name} already exists."));
    directory.add_group(name).map_err(taken)?;
    directory.wrote();
    let group = directory.group(name).ok_or_else(|| no_group(name))?;
    Ok(Answer::json(200, &confluence.group_bean(group)))
}

pub(super) fn delete_group(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.since(WRITES, ask)?;
    confluence.admin(ask)?;
    let mut directory = confluence.directory();
    let group = directory.group(ask.arg(0)).ok_or_else(|| no_group(ask.arg(0)))?;
    if fold(group.name()) == ADMINISTRATORS {
        return Err(refusal(400, "The last administrators group cannot be deleted."));
    }
    if group.read_only {
        return Err(refusal(403, "The group is in a read-only directory."));
    }
    directory.delete_group(ask.arg(0)).map_err(|_| no_group(ask.arg(0)))?;
    directory.wrote();
    Ok(Answer::empty(204))
}

/// The user and the group of the path, if their membership can change.
fn membership<'a>(confluence: &'a Instance, ask: &Ask) -> Result<MutexGuard<'a, Directory>, Answer> {
    confluence.since(WRITES, ask)?;
    confluence.admin(ask)?;
    let directory = confluence.directory();
    let user = directory.user(ask.arg(0)).ok_or_else(|| no_user(ask.arg(0)))?;
    let group = directory.group(ask.arg(1)).ok_or_else(|| no_group(ask.arg(1)))?;
    if user.memberships_fixed || group.read_only {
        return Err(refusal(403, "The membership is in a read-only directory."));
    }
    Ok(directory)
}

pub(super) fn add_member(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    let mut directory = membership(confluence, ask)?;
    if directory.join(ask.arg(1), ask.arg(0)).map_err(|why| unlucky(why, ask))? {
        directory.wrote();
    }
    Ok(Answer::empty(204))
}

pub(super) fn remove_member(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    let mut directory = membership(confluence, ask)?;
    if directory.leave(ask.arg(1), ask.arg(0)).map_err(|why| unlucky(why, ask))? {
        directory.wrote();
    }
    Ok(Answer::empty(204))
}

fn unlucky(why: Refusal, ask: &Ask) -> Answer {
    match why {
        Refusal::NoSuchUser => no_user(ask.arg(0)),
        Refusal::NoSuchGroup => no_group(ask.arg(1)),
        Refusal::UserExists | Refusal::GroupExists => refusal(409, "It exists already."),
    }
}
