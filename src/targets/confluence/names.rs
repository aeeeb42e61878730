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
    if name.contains('/') {
        return Some(format!("the user name {name:?} contains '/', which cannot stand in a path of Confluence's API"));
    }
    if name.chars().any(char::is_uppercase) {
        return Some(format!("the user name {name:?} has upper case, which Confluence refuses: put `| lower` in its mapping"));
    }
    let bad = name.chars().find(|c| c.is_whitespace() || c.is_control() || r#"\,+<>'""#.contains(*c))?.to_string();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, display_name: Option<&str>, email: Option<&str>) -> Attributes {
        Attributes { name: name.into(), email: email.map(Into::into), display_name: display_name.map(Into::into) }
    }

    #[test]
    fn names_that_confluence_documents_as_illegal_are_refused() {
        for bad in
            ["", "Ada", "a+b@x.org", "a b", "a\\b", "a,b", "a<b", "a>b", "o'neil", "a\"b", "anonymous", "a\tb", "..", "É", "a/b"]
        {
            assert!(refuse_user(&user(bad, None, None)).is_some(), "{bad:?}");
        }
        for good in ["ada", "ada.lovelace@example.org", "a#b%c", "ädä", "😀"] {
            assert_eq!(refuse_user(&user(good, None, None)), None, "{good:?}");
        }
    }

    #[test]
    fn a_name_with_upper_case_is_refused_with_the_way_out() {
        assert!(refuse_user(&user("Ada", None, None)).unwrap().contains("lower"));
    }

    #[test]
    fn full_names_and_addresses_that_confluence_would_not_take_are_refused() {
        for bad in [" ", "<b>", "Anonymous"] {
            assert!(refuse_user(&user("ada", Some(bad), None)).is_some(), "{bad:?}");
        }
        assert!(refuse_user(&user("ada", None, Some(" "))).is_some());
        assert_eq!(refuse_user(&user("ada", Some("O'Neil, \"Ada\" + 1"), Some("a@b.c"))), None);
    }

    #[test]
    fn groups_that_cannot_stand_in_a_path_are_refused() {
        for bad in ["", " ", "a/b", "a\\b", "a\nb", ".", ".."] {
            assert!(refuse_group(bad).is_some(), "{bad:?}");
        }
        for good in ["Engineering", "a b", "a+b#c%d", "😀"] {
            assert_eq!(refuse_group(good), None, "{good:?}");
        }
    }
}
