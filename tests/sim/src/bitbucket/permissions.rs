//! What surrounds the users: global permissions, directories, the licence, the rate limiter.

use super::*;

pub(super) fn list_group_permissions(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let (directory, permissions) = (bitbucket.directory(), bitbucket.permissions());
    let filter = fold(ask.query("filter").unwrap_or_default());
    let rows = permissions.groups.iter().filter_map(|(folded, permission)| Some((directory.group(folded)?, permission)));
    let found = rows.filter(|(group, _)| contains_folded(group.name(), &filter));
    let show = |(group, permission): (&directory::Group, &String)| json!({ "group": { "name": group.name() }, "permission": permission });
    Ok(Answer::json(200, &bitbucket.page(ask, found, show)))
}

pub(super) fn list_user_permissions(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let (directory, permissions) = (bitbucket.directory(), bitbucket.permissions());
    let filter = fold(ask.query("filter").unwrap_or_default());
    let rows = permissions.users.iter().filter_map(|(folded, permission)| Some((directory.user(folded)?, permission)));
    let found = rows.filter(|(user, _)| contains_folded(user.name(), &filter));
    let show = |(user, permission): (&User, &String)| json!({ "user": bitbucket.bean(user), "permission": permission });
    Ok(Answer::json(200, &bitbucket.page(ask, found, show)))
}

pub(super) fn revoke_user(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let name = required(ask, "name")?;
    let mut directory = bitbucket.directory();
    directory.user(name).ok_or_else(|| no_user(name))?;
    if bitbucket.permissions().users.remove(&fold(name)).is_some() {
        directory.wrote();
    }
    Ok(Answer::empty(204))
}

pub(super) fn list_directories(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let mut list = vec![json!({
        "name": INTERNAL_DIRECTORY, "type": "Internal", "description": "Bitbucket Internal Directory", "active": true,
    })];
    if bitbucket.directory().users().any(|u| u.read_only) {
        list.insert(0, json!({ "name": CROWD_DIRECTORY, "type": "Crowd", "description": "", "active": true }));
    }
    Ok(Answer::json(200, &list))
}

pub(super) fn rate_limit(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let rate = bitbucket.gate.rate();
    let (capacity, fill) = rate.map_or((60, 5), |r| (r.capacity, r.fill));
    let settings = json!({ "capacity": capacity, "fillRate": fill });
    Ok(Answer::json(200, &json!({ "enabled": rate.is_some(), "defaultSettings": settings })))
}

/// The licence, and how much of it is taken.
pub(super) fn licence(bitbucket: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    bitbucket.admin(ask)?;
    let directory = bitbucket.directory();
    let mut licence = json!({
        "creationDate": 1_767_600_000_000_i64,
        "purchaseDate": 1_767_600_000_000_i64,
        "expiryDate": 1_799_136_000_000_i64,
        "unlimitedNumberOfUsers": directory.seats.is_none(),
        "serverId": "SIMU-LATE-DBIT-BUCK",
        "supportEntitlementNumber": "SEN-0000000",
        "status": { "serverId": "SIMU-LATE-DBIT-BUCK", "currentNumberOfUsers": directory.seats_taken() },
    });
    if let Some(seats) = directory.seats {
        licence["maximumNumberOfUsers"] = json!(seats);
    }
    Ok(Answer::json(200, &licence))
}
