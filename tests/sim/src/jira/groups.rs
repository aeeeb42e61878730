//! Groups and members: the picker, the pages of 50, and writes that answer 400 to what is so already.

use super::*;

/// A page of members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberPage<'a> {
    #[serde(rename = "self")]
    link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page: Option<String>,
    max_results: usize,
    start_at: usize,
    total: usize,
    is_last: bool,
    values: Vec<UserBean<'a>>,
}

/// Anonymous callers get an empty answer with a 200, which is the trap of this call.
pub(super) fn pick_groups(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    let directory = jira.directory();
    let query = fold(ask.query("query").unwrap_or_default());
    let most = match ask.number("maxResults", 20) {
        0 => 20,
        most => most,
    };
    let visible = ask.caller != Caller::Anonymous;
    let found: Vec<&Group> = directory.groups().filter(|g| visible && contains_folded(g.name(), &query)).collect();
    let shown: Vec<Value> = found.iter().take(most).map(|g| suggestion(g.name(), &query)).collect();
    let header = format!("Showing {} of {} matching groups", shown.len(), found.len());
    Ok(Answer::json(200, &json!({ "header": header, "total": found.len(), "groups": shown })))
}

fn suggestion(name: &str, query: &str) -> Value {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let end = name.char_indices().nth(query.chars().count()).map_or(name.len(), |(at, _)| at);
    let html = if !query.is_empty() && starts_folded(name, query) {
        format!("<b>{}</b>{}", escaped(&name[..end]), escaped(&name[end..]))
    } else {
        escaped(name)
    };
    json!({ "name": name, "html": html, "labels": [] })
}

fn no_group(name: &str) -> Answer {
    errors(404, &format!("The group named '{name}' does not exist."))
}

fn group_bean(jira: &Instance, name: &str, size: usize) -> Value {
    json!({
        "name": name,
        "self": format!("{}/rest/api/2/group?groupname={}", jira.options.base_url, encode(name)),
        "users": { "size": size, "items": [], "max-results": 50, "start-index": 0, "end-index": 0 },
        "expand": "users",
    })
}

pub(super) fn create_group(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let body = object(ask)?;
    let name = text(&body, "name")?.filter(|n| !n.is_empty()).ok_or_else(|| field("name", "You must specify a group name."))?;
    let mut directory = jira.directory();
    directory.add_group(name).map_err(|_| errors(400, "A group or user with this name already exists."))?;
    directory.wrote();
    Ok(Answer::json(201, &group_bean(jira, name, 0)))
}

/// The query parameter `groupname`, which must not be empty.
fn group_name(ask: &Ask) -> Result<&str, Answer> {
    ask.query("groupname")
        .filter(|g| !g.is_empty())
        .ok_or_else(|| errors(400, "The 'groupname' query parameter needs to be provided."))
}

pub(super) fn delete_group(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let name = group_name(ask)?;
    let mut directory = jira.directory();
    if directory.group(name).ok_or_else(|| no_group(name))?.read_only {
        return Err(errors(400, "Cannot delete group, the group is in a read-only directory."));
    }
    directory.delete_group(name).map_err(|_| no_group(name))?;
    directory.wrote();
    Ok(Answer::empty(200))
}

/// At most 50 a page, whatever is asked.
pub(super) fn list_members(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let name = group_name(ask)?;
    let inactive = ask.flag("includeInactiveUsers", false);
    let (start_at, max_results) = (ask.number("startAt", 0), ask.number("maxResults", 50).clamp(1, 50));
    let directory = jira.directory();
    let group = directory.group(name).ok_or_else(|| no_group(name))?;
    let hidden = if inactive { 0 } else { directory.inactive_members(group) };
    let total = group.members().len() - hidden;
    let page: Vec<&User> = if hidden == 0 {
        let rest = group.members().get(start_at..).unwrap_or_default();
        rest.iter().take(max_results).filter_map(|id| directory.user_by_id(*id)).collect()
    } else {
        directory.members(group).filter(|u| u.is_active()).skip(start_at).take(max_results).collect()
    };
    let values: Vec<_> = page.into_iter().map(|u| jira.bean(u)).collect();
    let end = start_at + values.len();
    let link = |at: usize| {
        let query = format!("groupname={}&includeInactiveUsers={inactive}&startAt={at}&maxResults={max_results}", encode(name));
        jira.here(ask, &query)
    };
    let is_last = end >= total;
    let next_page = (!is_last).then(|| link(end));
    let body = MemberPage { link: link(start_at), next_page, max_results, start_at, total, is_last, values };
    Ok(Answer::json(200, &body))
}

/// The group that both membership calls are about, if its memberships can change.
fn changeable(directory: &Directory, group: &str, user: &str) -> Result<(), Answer> {
    let found = directory.group(group).ok_or_else(|| no_group(group))?;
    let member = directory.user(user).ok_or_else(|| errors(404, &format!("The user named '{user}' does not exist.")))?;
    if found.read_only || member.memberships_fixed {
        return Err(errors(400, "Cannot change the membership, the directory is read-only."));
    }
    Ok(())
}

pub(super) fn add_member(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let group = group_name(ask)?;
    let body = object(ask)?;
    let user = text(&body, "name")?.unwrap_or_default();
    let mut directory = jira.directory();
    changeable(&directory, group, user)?;
    if directory.is_member(group, user) {
        let message = format!("Cannot add user. '{user}' is already a member of '{group}'");
        return Err(errors(400, &message));
    }
    let licensed = directory.group(group).is_some_and(|g| g.licensed);
    if licensed && directory.is_full() && directory.user(user).is_some_and(|u| u.is_active() && !directory.is_licensed(u)) {
        return Err(errors(400, "Cannot add user, since the license limit has been exceeded."));
    }
    directory.join(group, user).map_err(|refusal| unlucky(refusal, group, user))?;
    directory.wrote();
    let group = directory.group(group).ok_or_else(|| no_group(group))?;
    Ok(Answer::json(201, &group_bean(jira, group.name(), group.members().len())))
}

pub(super) fn remove_member(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let group = group_name(ask)?;
    let user = ask.query("username").unwrap_or_default();
    let mut directory = jira.directory();
    changeable(&directory, group, user)?;
    if !directory.leave(group, user).map_err(|refusal| unlucky(refusal, group, user))? {
        let message = format!("Cannot remove user '{user}' from group '{group}' since user is not a member of '{group}'");
        return Err(errors(400, &message));
    }
    directory.wrote();
    Ok(Answer::empty(200))
}

fn unlucky(refusal: Refusal, group: &str, user: &str) -> Answer {
    match refusal {
        Refusal::NoSuchGroup => no_group(group),
        Refusal::NoSuchUser => errors(404, &format!("The user named '{user}' does not exist.")),
        Refusal::UserExists | Refusal::GroupExists => errors(400, "A group or user with this name already exists."),
    }
}
