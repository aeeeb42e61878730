//! Users: the listing without e-mail addresses, the writes that came one version at a time, and the rules for names.

use super::*;

/// An anonymous caller is a user of its own kind here, with a 200.
pub(super) fn current_user(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    if ask.caller == Caller::Anonymous {
        return Ok(Answer::json(200, &json!({ "type": "anonymous", "displayName": "Anonymous", "_links": {} })));
    }
    let directory = confluence.directory();
    let name = confluence.gate.user();
    let user = directory.user(&name).ok_or_else(|| no_user(&name))?;
    Ok(Answer::json(200, &confluence.bean(&directory, user, ask)))
}

fn named<'a>(directory: &'a Directory, ask: &Ask) -> Result<&'a User, Answer> {
    match (ask.query("username"), ask.query("key")) {
        (Some(name), _) => directory.user(name).ok_or_else(|| no_user(name)),
        (None, Some(key)) => directory.user_by_key(key).ok_or_else(|| no_user(key)),
        (None, None) => Err(refusal(400, "Either a username or a key must be given.")),
    }
}

pub(super) fn get_user(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.known(ask)?;
    let directory = confluence.directory();
    let user = named(&directory, ask)?;
    Ok(Answer::json(200, &confluence.bean(&directory, user, ask)))
}

pub(super) fn list_users(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.since(CREATES, ask)?;
    confluence.known(ask)?;
    let directory = confluence.directory();
    let show = |u| confluence.bean(&directory, u, ask);
    Ok(Answer::json(200, &confluence.page(ask, 100, confluence.options.list_max, directory.users(), show)))
}

pub(super) fn list_groups_of(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.known(ask)?;
    let directory = confluence.directory();
    let user = named(&directory, ask)?;
    let page = confluence.page(ask, 200, 200, directory.groups_of(user), |g| confluence.group_bean(g));
    Ok(Answer::json(200, &page))
}

/// The rules of the document, which only this product has.
fn valid_user_name(name: &str) -> Result<(), Answer> {
    let fault = if name.is_empty() {
        "must not be blank"
    } else if name.chars().any(char::is_uppercase) {
        "must not contain upper case letters"
    } else if name.chars().any(char::is_whitespace) {
        "must not contain whitespace"
    } else if name.contains(['\\', ',', '+', '<', '>', '\'', '"']) {
        "must not contain any of \\ , + < > ' \""
    } else if name == "anonymous" {
        "must not be anonymous"
    } else {
        return Ok(());
    };
    Err(refusal(400, &format!("Invalid userName: {fault}")))
}

fn valid_full_name(name: &str) -> Result<(), Answer> {
    if name.is_empty() || name.contains(['<', '>']) || fold(name) == "anonymous" {
        return Err(refusal(400, "Invalid fullName"));
    }
    Ok(())
}

fn valid_email(email: &str) -> Result<(), Answer> {
    let valid = email.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    if valid && !email.contains(char::is_whitespace) { Ok(()) } else { Err(refusal(400, "Invalid email")) }
}

pub(super) fn create_user(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.since(CREATES, ask)?;
    confluence.admin(ask)?;
    let body = object(ask)?;
    let (name, full_name, email) = (text(&body, "userName"), text(&body, "fullName"), text(&body, "email"));
    valid_user_name(name)?;
    valid_full_name(full_name)?;
    valid_email(email)?;
    let notify = body.get("notifyViaEmail").and_then(Value::as_bool).unwrap_or(false);
    if notify != text(&body, "password").is_empty() {
        return Err(refusal(400, "Either a password or notifyViaEmail must be given, and not both."));
    }
    let mut directory = confluence.directory();
    if directory.user(name).is_some() {
        return Err(refusal(409, &format!("A user with the username {name} already exists.")));
    }
    if directory.is_full() {
        return Err(refusal(402, "There are no more licenses available to create a user."));
    }
    directory.add_user(name, email, full_name).map_err(|_| refusal(409, "The user already exists."))?;
    // The default group may have been deleted by hand.
    let _joined = directory.join(&confluence.options.default_group, name);
    directory.wrote();
    let key = directory.user(name).map(|u| u.key.clone());
    Ok(Answer::json(201, &json!({ "userKey": key })))
}

/// The user of the path, if its details can change.
fn changeable<'a>(directory: &'a mut Directory, ask: &Ask) -> Result<&'a mut User, Answer> {
    let user = directory.user_mut(ask.arg(0)).ok_or_else(|| no_user(ask.arg(0)))?;
    if user.read_only { Err(refusal(403, "The user is in a read-only directory.")) } else { Ok(user) }
}

/// A part that is absent stays; a part that is there obeys the rules.
pub(super) fn update_user(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.since(UPDATES, ask)?;
    confluence.admin(ask)?;
    let body = object(ask)?;
    let mut directory = confluence.directory();
    let user = changeable(&mut directory, ask)?;
    let before = (user.display_name.clone(), user.email.clone());
    if body.contains_key("fullName") {
        valid_full_name(text(&body, "fullName"))?;
    }
    if body.contains_key("email") {
        valid_email(text(&body, "email"))?;
        text(&body, "email").clone_into(&mut user.email);
    }
    if body.contains_key("fullName") {
        text(&body, "fullName").clone_into(&mut user.display_name);
    }
    if before != (user.display_name.clone(), user.email.clone()) {
        directory.wrote();
    }
    Ok(Answer::empty(204))
}

pub(super) fn enable_user(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    set_active(confluence, ask, true)
}

pub(super) fn disable_user(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    set_active(confluence, ask, false)
}

fn set_active(confluence: &Instance, ask: &Ask, active: bool) -> Result<Answer, Answer> {
    confluence.since(WRITES, ask)?;
    confluence.admin(ask)?;
    let mut directory = confluence.directory();
    changeable(&mut directory, ask)?;
    if directory.set_active(ask.arg(0), active).map_err(|_| no_user(ask.arg(0)))? {
        directory.wrote();
    }
    Ok(Answer::empty(204))
}

pub(super) fn delete_user(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.since(WRITES, ask)?;
    confluence.admin(ask)?;
    let mut directory = confluence.directory();
    let user = changeable(&mut directory, ask)?;
    let (id, name) = (format!("task-{}", user.id), user.name().to_owned());
    directory.delete_user(&name).map_err(|_| no_user(&name))?;
    directory.wrote();
    confluence.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), 0);
    let status = format!("{}/rest/api/longtask/{id}", confluence.options.base_url);
    Ok(Answer::json(202, &json!({ "id": id, "links": { "status": status } })))
}

/// Half done when first asked about, done from then on.
pub(super) fn long_task(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.known(ask)?;
    let mut tasks = confluence.tasks.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = tasks.get_mut(ask.arg(0)).ok_or_else(|| refusal(404, "No task found with that id."))?;
    *asked += 1;
    let (percentage, done) = if *asked > 1 { (100, true) } else { (50, false) };
    Ok(Answer::json(
        200,
        &json!({
            "id": ask.arg(0),
            "name": { "key": "user.delete", "args": [] },
            "elapsedTime": u64::from(*asked) * 100,
            "percentageComplete": percentage,
            "successful": done,
            "messages": [],
        }),
    ))
}
