//! Which names Confluence takes. Its rules are stricter than those of the other products, and asking it would cost a request
//! for each name and run.

use crate::model::desired::Attributes;

/// Why Confluence cannot hold this user. The rules are those that its API documents for the
/// creation of users: <https://developer.atlassian.com/server/confluence/rest/v1003/api-group-admin-user/>.
pub(super) fn refuse_user(user: &Attributes) -> Option<String> {
    refuse_name(&user.name)
        .or_else(|| user.display_name.as_deref().and_then(refuse_full_name))
        .or_else(|| user.email.as_deref().filter(|e| e.trim().is_empty()).map(|_| "the e-mail address is blank".to_owned()))
}

fn refuse_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("the user name is empty".into());
    }
    if name.eq_ignore_ascii_case("anonymous") {
        return Some("the user name \"anonymous\" is reserved in Confluence".into());
    }
    // Folded away by whatever reads the path of a call, encoded or not.
    if name == "." || name == ".." {
        return Some(format!("the user name {name:?} cannot stand in a path of Confluence's API"));
    }
    if name.chars().any(char::is_uppercase) {
        return Some(format!("the user name {name:?} has upper case, which Confluence refuses: put `| lower` in its mapping"));
    }
    let bad = name.chars().find(|c| c.is_whitespace() || c.is_control() || r#"\,+<>'""#.contains(*c))?;
    Some(format!("the user name {name:?} contains {bad:?}, which Confluence refuses"))
}

/// Why Confluence does not take this full name.
pub(super) fn refuse_full_name(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("the full name is blank".into());
    }
    if name.trim().eq_ignore_ascii_case("anonymous") {
        return Some("the full name \"anonymous\" is reserved in Confluence".into());
    }
    name.contains(['<', '>']).then(|| "the full name contains < or >, which Confluence refuses".into())
}

/// Why Confluence cannot hold a group of this name. Groups stand in the path of its calls, where a slash or backslash, encoded
/// or not, is refused by the servlet container and by many proxies.
pub(super) fn refuse_group(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("the group name is blank".into());
    }
    // "." and ".." are folded away by whatever reads the path, encoded or not.
    if name == "." || name == ".." {
        return Some(format!("the group name {name:?} cannot stand in a path of Confluence's API"));
    }
    let bad = name.chars().find(|c| matches!(c, '/' | '\\') || c.is_control())?;
    Some(format!("the group name {name:?} contains {bad:?}, which cannot stand in a path of Confluence's API"))
}
