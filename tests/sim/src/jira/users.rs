//! Users: the single view, the two listings with their limits, and the writes.

use super::*;

/// A page of the complete list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CursorPage<'a> {
    #[serde(rename = "self")]
    link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    max_results: usize,
    is_last: bool,
    values: Vec<UserBean<'a>>,
}

/// The user that `username` or `key` names.
pub(super) fn named<'a>(directory: &'a Directory, ask: &Ask) -> Result<&'a User, Answer> {
    match (ask.query("username"), ask.query("key")) {
        (Some(name), _) => directory.user(name).ok_or_else(|| errors(404, &format!("The user named '{name}' does not exist"))),
        (None, Some(key)) => {
            directory.user_by_key(key).ok_or_else(|| errors(404, &format!("The user with the key '{key}' does not exist")))
        }
        (None, None) => Err(errors(400, "Either the 'username' or the 'key' query parameters need to be provided")),
    }
}

pub(super) fn get_user(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.known(ask)?;
    let directory = jira.directory();
    let user = named(&directory, ask)?;
    Ok(Answer::json(200, &jira.single(&directory, user, ask)))
}

fn valid_name(name: &str) -> Result<(), Answer> {
    if name.is_empty() {
        return Err(field("username", "You must specify a username."));
    }
    if name.contains(['<', '>', '&']) {
        return Err(field("username", "The username must not contain '<', '>' or '&'."));
    }
    if name.chars().count() > 255 {
        return Err(field("username", "The username must not exceed 255 characters in length."));
    }
    Ok(())
}

fn valid_details(email: Option<&str>, display_name: Option<&str>) -> Result<(), Answer> {
    match email {
        Some("") => return Err(field("emailAddress", "You must specify an email address.")),
        Some(email) if !email.contains('@') => {
            return Err(field("emailAddress", "You must specify a valid email address."));
        }
        Some(_) | None => {}
    }
    if display_name == Some("") {
        return Err(field("displayName", "You must specify a full name."));
    }
    Ok(())
}

pub(super) const NAME_TAKEN: &str = "A user with that username already exists.";

pub(super) fn create_user(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let body = object(ask)?;
    let name = text(&body, "name")?.unwrap_or_default();
    let email = text(&body, "emailAddress")?.unwrap_or_default();
    let display_name = text(&body, "displayName")?.unwrap_or_default();
    valid_name(name)?;
    valid_details(Some(email), Some(display_name))?;
    // Without `applicationKeys` the default access of the instance is granted, with an empty list none.
    let takes_seat = body.get("applicationKeys").is_none_or(|keys| keys.as_array().is_none_or(|k| !k.is_empty()));
    let mut directory = jira.directory();
    if directory.user(name).is_some() {
        return Err(field("username", NAME_TAKEN));
    }
    if takes_seat && directory.is_full() {
        return Err(errors(400, "You cannot create a user at this time, since the license limit has been exceeded."));
    }
    directory.add_user(name, email, display_name).map_err(|_| field("username", NAME_TAKEN))?;
    if takes_seat {
        // The default group may have been deleted by hand.
        let _joined = directory.join(&jira.options.default_group, name);
    }
    if let Some(active) = body.get("active").and_then(Value::as_bool) {
        directory.set_active(name, active).map_err(|_| errors(500, "The user was not created."))?;
    }
    directory.wrote();
    let user = directory.user(name).ok_or_else(|| errors(500, "The user was not created."))?;
    Ok(Answer::json(201, &jira.single(&directory, user, ask)))
}

pub(super) fn update_user(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let body = object(ask)?;
    let (name, email, display_name) = (text(&body, "name")?, text(&body, "emailAddress")?, text(&body, "displayName")?);
    let active = body.get("active").and_then(Value::as_bool);
    let mut directory = jira.directory();
    let user = named(&directory, ask)?.clone();
    let changes = name.is_some_and(|n| n != user.name())
        || email.is_some_and(|e| e != user.email)
        || display_name.is_some_and(|d| d != user.display_name)
        || active.is_some_and(|a| a != user.is_active());
    if !changes {
        return Err(errors(400, "error.no.value.found.to.be.changed"));
    }
    if user.read_only {
        return Err(errors(403, "The directory is read-only."));
    }
    if let Some(name) = name {
        valid_name(name)?;
    }
    valid_details(email, display_name)?;
    if active == Some(false) && user.is_active() && user.leads_project {
        return Err(field("active", "Cannot deactivate user, because the user is currently a project lead."));
    }
    if active == Some(true) && !user.is_active() && directory.is_full() && directory.groups_of(&user).any(|g| g.licensed) {
        return Err(errors(400, "You cannot activate the user, since the license limit has been exceeded."));
    }
    if let Some(name) = name {
        directory.rename_user(user.name(), name).map_err(|_| field("username", NAME_TAKEN))?;
    }
    let current = name.unwrap_or(user.name());
    if let Some(user) = directory.user_mut(current) {
        user.email = email.map_or_else(|| user.email.clone(), str::to_owned);
        user.display_name = display_name.map_or_else(|| user.display_name.clone(), str::to_owned);
    }
    if let Some(active) = active {
        directory.set_active(current, active).map_err(|_| errors(404, "The user does not exist."))?;
    }
    directory.wrote();
    let user = directory.user(current).ok_or_else(|| errors(404, "The user does not exist."))?;
    Ok(Answer::json(200, &jira.single(&directory, user, ask)))
}

pub(super) fn delete_user(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let mut directory = jira.directory();
    let user = named(&directory, ask)?.clone();
    if user.read_only {
        return Err(errors(403, "The directory is read-only."));
    }
    if user.leads_project {
        return Err(errors(400, "Cannot delete user, because the user is currently a project lead."));
    }
    if fold(user.name()) == fold(&jira.gate.user()) {
        return Err(errors(400, "You cannot delete the currently logged in user."));
    }
    directory.delete_user(user.name()).map_err(|_| errors(404, "The user does not exist."))?;
    directory.wrote();
    Ok(Answer::empty(204))
}

pub(super) fn search_users(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.known(ask)?;
    let Some(query) = ask.query("username").filter(|q| !q.is_empty()) else {
        return Err(errors(400, "The username query parameter was not provided"));
    };
    let (active, inactive) = (ask.flag("includeActive", true), ask.flag("includeInactive", false));
    let window = jira.search_window();
    let most = ask.number("maxResults", 50).min(window);
    let directory = jira.directory();
    let folded = fold(query);
    let matches = directory
        .users()
        .filter(|u| if u.is_active() { active } else { inactive })
        .filter(|u| query == "." || query == "\"\"" || is_found(u, &folded));
    let page: Vec<_> = matches.take(window).skip(ask.number("startAt", 0)).take(most).map(|u| jira.bean(u)).collect();
    Ok(Answer::json(200, &page))
}

/// The beginning of the address, or of a word of user name or display name.
fn is_found(user: &User, folded: &str) -> bool {
    starts_folded(&user.email, folded) || word_starts(user.name(), folded) || word_starts(&user.display_name, folded)
}

fn word_starts(text: &str, folded: &str) -> bool {
    let mut inside = false;
    for (at, character) in text.char_indices() {
        let starts = !inside && starts_folded(&text[at..], folded);
        if starts {
            return true;
        }
        inside = character.is_alphanumeric();
    }
    false
}

pub(super) fn list_users(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    if !jira.has_user_list() {
        return Err(Answer::no_such_resource(ask));
    }
    jira.admin(ask)?;
    let cursor = match ask.query("cursor").map(str::parse::<u64>) {
        None => 0,
        Some(Ok(cursor)) => cursor,
        Some(Err(_)) => return Err(Answer::no_such_resource(ask)),
    };
    let max_results = ask.number("maxResults", 2000).clamp(1, 2000);
    let directory = jira.directory();
    let mut rest = directory.users_after(cursor).filter(|u| u.is_active() || jira.options.list_inactive).peekable();
    let page: Vec<&User> = rest.by_ref().take(max_results).collect();
    let next = page.last().filter(|_| rest.peek().is_some()).map(|u| u.id.to_string());
    let body = CursorPage {
        link: jira.here(ask, &format!("maxResults={max_results}&cursor={cursor}")),
        next_page: next.as_ref().map(|c| jira.here(ask, &format!("maxResults={max_results}&cursor={c}"))),
        is_last: next.is_none(),
        next_cursor: next,
        max_results,
        values: page.into_iter().map(|u| jira.bean(u)).collect(),
    };
    Ok(Answer::json(200, &body))
}
