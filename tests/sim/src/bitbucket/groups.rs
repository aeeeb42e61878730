//! Groups and memberships: additions in lists that may stop half way, removals one by one.

use super::*;

pub(super) fn list_groups(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.licensed(ask)?;
    let directory = bitbucket.directory();
    let filter = fold(ask.query("filter").unwrap_or_default());
    let found = directory.groups().filter(|g| contains_folded(g.name(), &filter));
    let show = |g: &directory::Group| json!({ "name": g.name(), "deletable": !g.read_only });
    Ok(Answer::json(200, &bitbucket.page(ask, found, show)))
}

pub(super) fn list_members(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.licensed(ask)?;
    let name = required(ask, "context")?;
    let directory = bitbucket.directory();
    let filter = fold(ask.query("filter").unwrap_or_default());
    let Some(group) = directory.group(name) else {
        if bitbucket.options.unknown_group_is_empty {
            return Ok(Answer::json(200, &bitbucket.page(ask, std::iter::empty::<Value>(), |v| v)));
        }
        return Err(no_group(name));
    };
    let found = directory.members(group).filter(|u| contains_folded(u.name(), &filter));
    Ok(Answer::json(200, &bitbucket.page(ask, found, |u| bitbucket.bean(u))))
}

/// A list of texts of the body that must be there.
fn texts<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, Answer> {
    let list = body.get(name).and_then(Value::as_array).filter(|list| !list.is_empty());
    let texts = list.and_then(|list| list.iter().map(Value::as_str).collect());
    texts.ok_or_else(|| invalid(name, &format!("The {name} must be a list of names.")))
}

pub(super) fn create_group(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let name = required(ask, "name")?;
    let mut directory = bitbucket.directory();
    directory.add_group(name).map_err(|why| unlucky(why, name, ""))?;
    directory.wrote();
    Ok(Answer::json(200, &json!({ "name": name, "deletable": true })))
}

pub(super) fn delete_group(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let name = required(ask, "name")?;
    bitbucket.above(name)?;
    let mut directory = bitbucket.directory();
    if directory.group(name).ok_or_else(|| no_group(name))?.read_only {
        return Err(error(409, "The group's directory is read-only.", READ_ONLY));
    }
    if fold(name) == ADMINISTRATORS && directory.is_member(name, &bitbucket.gate.user()) {
        return Err(error(409, "This would lower your own permission level.", INTEGRITY));
    }
    let group = directory.delete_group(name).map_err(|why| unlucky(why, name, ""))?;
    directory.wrote();
    bitbucket.permissions().groups.remove(&fold(name));
    Ok(Answer::json(200, &json!({ "name": group.name(), "deletable": true })))
}

/// Adds one after the other; the ones before an unknown one stay added.
fn add_pairs<'a>(bitbucket: &Instance, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Answer, Answer> {
    for (group, user) in pairs {
        add_pair(bitbucket, group, user)?;
    }
    Ok(Answer::empty(200))
}

fn add_pair(bitbucket: &Instance, group: &str, user: &str) -> Result<(), Answer> {
    bitbucket.above(group)?;
    let mut directory = bitbucket.directory();
    changeable(&directory, group, user)?;
    let licensed = directory.group(group).is_some_and(|g| g.licensed);
    if licensed && directory.is_full() && directory.user(user).is_some_and(|u| u.is_active() && !directory.is_licensed(u)) {
        return Err(error(403, "Adding the user would exceed the license limit.", LICENCE));
    }
    if directory.join(group, user).map_err(|why| unlucky(why, group, user))? {
        directory.wrote();
    }
    Ok(())
}

fn remove_pair(bitbucket: &Instance, group: &str, user: &str) -> Result<Answer, Answer> {
    bitbucket.above(group)?;
    let mut directory = bitbucket.directory();
    changeable(&directory, group, user)?;
    if directory.leave(group, user).map_err(|why| unlucky(why, group, user))? {
        directory.wrote();
    }
    Ok(Answer::empty(200))
}

fn changeable(directory: &Directory, group: &str, user: &str) -> Result<(), Answer> {
    let found = directory.group(group).ok_or_else(|| no_group(group))?;
    let member = directory.user(user).ok_or_else(|| no_user(user))?;
    if found.read_only || member.memberships_fixed {
        return Err(error(409, "The membership's directory is read-only.", READ_ONLY));
    }
    Ok(())
}

pub(super) fn add_users(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let body = object(ask)?;
    let (group, users) = (text(&body, "group")?, texts(&body, "users")?);
    add_pairs(bitbucket, users.into_iter().map(|user| (group, user)))
}

pub(super) fn add_groups(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let body = object(ask)?;
    let (user, groups) = (text(&body, "user")?, texts(&body, "groups")?);
    add_pairs(bitbucket, groups.into_iter().map(|group| (group, user)))
}

pub(super) fn add_user(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let body = object(ask)?;
    add_pairs(bitbucket, std::iter::once((text(&body, "context")?, text(&body, "itemName")?)))
}

pub(super) fn add_group(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let body = object(ask)?;
    add_pairs(bitbucket, std::iter::once((text(&body, "itemName")?, text(&body, "context")?)))
}

pub(super) fn remove_group(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let body = object(ask)?;
    remove_pair(bitbucket, text(&body, "itemName")?, text(&body, "context")?)
}

pub(super) fn remove_user(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let body = object(ask)?;
    remove_pair(bitbucket, text(&body, "context")?, text(&body, "itemName")?)
}
