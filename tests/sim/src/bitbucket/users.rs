//! Users: substring listings, a creation that is all query, and no way to deactivate.

use super::*;

pub(super) fn list_users(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.licensed(ask)?;
    let mut directory = bitbucket.directory();
    let filter = fold(ask.query("filter").unwrap_or_default());
    let page = match filter.is_empty() {
        true => bitbucket.page(ask, directory.users(), |u| bitbucket.bean(u)),
        false => bitbucket.page(ask, directory.users_with(&filter).into_iter(), |u| bitbucket.bean(u)),
    };
    Ok(Answer::json(200, &page))
}

/// The groups of the user, whatever the document says.
pub(super) fn list_groups_of(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.licensed(ask)?;
    let name = required(ask, "context")?;
    let directory = bitbucket.directory();
    let user = directory.user(name).ok_or_else(|| no_user(name))?;
    let show = |g: &directory::Group| json!({ "name": g.name(), "deletable": !g.read_only });
    Ok(Answer::json(200, &bitbucket.page(ask, directory.groups_of(user), show)))
}

/// Everything is in the query, and the default group is joined unless `addToDefaultGroup=false`.
pub(super) fn create_user(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let (name, display_name, email) = (required(ask, "name")?, required(ask, "displayName")?, required(ask, "emailAddress")?);
    if !email.contains('@') {
        return Err(invalid("emailAddress", "The e-mail address is not valid."));
    }
    let notify = ask.flag("notify", false);
    if notify && !bitbucket.options.mail_server {
        return Err(invalid("notify", "A mail server must be configured to notify a new user."));
    }
    if !notify && ask.query("password").unwrap_or_default().is_empty() {
        return Err(invalid("password", "A password is required unless the user is notified."));
    }
    let joins = ask.flag("addToDefaultGroup", true);
    let mut directory = bitbucket.directory();
    if directory.user(name).is_some() {
        return Err(error(409, &format!("A user with the name {name} already exists."), INTEGRITY));
    }
    if joins && directory.is_full() {
        return Err(error(403, "Adding the user would exceed the license limit.", LICENCE));
    }
    directory.add_user(name, email, display_name).map_err(|why| unlucky(why, USERS, name))?;
    if joins {
        // The default group may have been deleted by hand.
        let _joined = directory.join(USERS, name);
    }
    directory.wrote();
    Ok(Answer::empty(204))
}

fn writable(directory: &Directory, name: &str) -> Result<(), Answer> {
    let user = directory.user(name).ok_or_else(|| no_user(name))?;
    if user.read_only {
        return Err(error(409, "The user's directory is read-only.", READ_ONLY));
    }
    Ok(())
}

pub(super) fn update_user(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let body = object(ask)?;
    let name = text(&body, "name")?;
    let mut directory = bitbucket.directory();
    writable(&directory, name)?;
    let user = directory.user_mut(name).ok_or_else(|| no_user(name))?;
    let before = (user.display_name.clone(), user.email.clone());
    let display_name = body.contains_key("displayName").then(|| text(&body, "displayName")).transpose()?;
    let email = body.contains_key("email").then(|| text(&body, "email")).transpose()?;
    display_name.unwrap_or(&before.0).clone_into(&mut user.display_name);
    email.unwrap_or(&before.1).clone_into(&mut user.email);
    if before != (user.display_name.clone(), user.email.clone()) {
        directory.wrote();
    }
    let user = directory.user(name).ok_or_else(|| no_user(name))?;
    Ok(Answer::json(200, &bitbucket.bean(user)))
}

pub(super) fn rename_user(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let body = object(ask)?;
    let (name, new_name) = (text(&body, "name")?, text(&body, "newName")?);
    let mut directory = bitbucket.directory();
    writable(&directory, name)?;
    directory.rename_user(name, new_name).map_err(|_| invalid("newName", "The name is already in use."))?;
    directory.wrote();
    let mut permissions = bitbucket.permissions();
    if let Some(permission) = permissions.users.remove(&fold(name)) {
        permissions.users.insert(fold(new_name), permission);
    }
    let user = directory.user(new_name).ok_or_else(|| no_user(new_name))?;
    Ok(Answer::json(200, &bitbucket.bean(user)))
}

pub(super) fn delete_user(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let name = required(ask, "name")?;
    let mut directory = bitbucket.directory();
    writable(&directory, name)?;
    if fold(name) == fold(&bitbucket.gate.user()) {
        return Err(error(409, "You cannot delete yourself.", INTEGRITY));
    }
    let user = directory.delete_user(name).map_err(|why| unlucky(why, "", name))?;
    directory.wrote();
    bitbucket.permissions().users.remove(&fold(name));
    Ok(Answer::json(200, &bitbucket.bean(&user)))
}
