//! What Okta's answers hold, as far as it is needed, and how it becomes a roster's user.
//!
//! A page of members holds a thousand whole users of a kilobyte each, of whom nearly all are known already. So texts are
//! borrowed from the answer, a profile is skipped over and kept as its raw text, and only who is new is unfolded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::settings::Statuses;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::Attributes;
use crate::http::wire::Answer;
use crate::model::key::SourceKey;
use crate::model::roster::{Lifecycle, SourceUser};

/// Text that is borrowed unless it holds escapes. A newtype, since serde borrows only a `Cow` that it sees.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A user, in listings of users and of members and by itself.
#[derive(Debug, Deserialize)]
pub(super) struct User<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
    #[serde(borrow)]
    profile: &'a RawValue,
}

/// Of a profile what every job needs. A user of another type may lack any of it, and an unset one is null or left out.
#[derive(Debug, Deserialize)]
struct Profile<'a> {
    #[serde(borrow, default)]
    login: Option<Text<'a>>,
    #[serde(borrow, default)]
    email: Option<Text<'a>>,
    #[serde(borrow, default, rename = "firstName")]
    first_name: Option<Text<'a>>,
    #[serde(borrow, default, rename = "lastName")]
    last_name: Option<Text<'a>>,
    #[serde(borrow, default, rename = "displayName")]
    display_name: Option<Text<'a>>,
}

/// A group.
#[derive(Debug, Deserialize)]
pub(super) struct Group<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    profile: GroupProfile<'a>,
    #[serde(default, rename = "_embedded")]
    embedded: Option<GroupEmbedded>,
}

#[derive(Debug, Deserialize)]
struct GroupProfile<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct GroupEmbedded {
    #[serde(default)]
    stats: Option<Stats>,
}

#[derive(Debug, Deserialize)]
struct Stats {
    #[serde(rename = "usersCount")]
    users: Option<u64>,
}

impl Group<'_> {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.profile.name
    }
    /// Its type, in Okta's word.
    pub(super) fn kind(&self) -> Option<&str> {
        self.kind.as_ref().map(|kind| &*kind.0)
    }
    /// Whether Okta counts no user in it; false if it was not asked for the count.
    pub(super) fn counted_empty(&self) -> bool {
        self.embedded.as_ref().and_then(|e| e.stats.as_ref()).and_then(|s| s.users) == Some(0)
    }
}

/// A user's assignment to an app. Its id is the user's.
#[derive(Debug, Deserialize)]
pub(super) struct AppUser<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    /// `GROUP` if the user was assigned by way of a group.
    #[serde(borrow, default)]
    pub(super) scope: Option<Text<'a>>,
    #[serde(borrow, default, rename = "_embedded")]
    embedded: Option<AppUserEmbedded<'a>>,
}

#[derive(Debug, Deserialize)]
struct AppUserEmbedded<'a> {
    #[serde(borrow, default)]
    user: Option<User<'a>>,
}

impl<'a> AppUser<'a> {
    /// The user, if it came along.
    pub(super) fn user(&self) -> Option<&User<'a>> {
        self.embedded.as_ref()?.user.as_ref()
    }
}

/// A group's assignment to an app. Its id is the group's.
#[derive(Debug, Deserialize)]
pub(super) struct AppGroup<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default, rename = "_embedded")]
    embedded: Option<AppGroupEmbedded<'a>>,
}

#[derive(Debug, Deserialize)]
struct AppGroupEmbedded<'a> {
    #[serde(borrow, default)]
    group: Option<Group<'a>>,
}

impl<'a> AppGroup<'a> {
    /// The group, if it came along.
    pub(super) fn group(&self) -> Option<&Group<'a>> {
        self.embedded.as_ref()?.group.as_ref()
    }
}

/// An app.
#[derive(Debug, Deserialize)]
pub(super) struct App<'a> {
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) label: Option<Text<'a>>,
}

/// Reads an answer, borrowing from it.
///
/// # Errors
/// [`Fault::Malformed`], with the place of what does not fit and never its value.
pub(super) fn read<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, ConnectorError> {
    let kind = answer.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let claims_json = kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/json"));
    // Checked once as a whole, the text need not be checked again string by string.
    let text = std::str::from_utf8(&answer.body).ok();
    if claims_json
        && let Some(text) = text
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    // What is no JSON at all is told as for every connector.
    answer.json::<IgnoredAny>()?;
    let malformed = |why: String| ConnectorError::new(&answer.system, &*answer.doing, Fault::Malformed, why);
    let text = text.ok_or_else(|| malformed("answered with JSON that is not UTF-8".to_owned()))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(value) => Ok(value),
        Err(error) => {
            let place = error.path().to_string();
            let what = error.inner().to_string();
            let missing = what.split_once(" at line").map(|(what, _)| what).filter(|what| what.starts_with("missing field"));
            Err(malformed(match missing {
                Some(missing) => format!("answered with JSON that does not fit at {place}: {missing}"),
                None => format!("answered with JSON that does not fit at {place}"),
            }))
        }
    }
}

/// A roster's user, and whether rosterd knows what their status means.
pub(super) struct Unfolded {
    pub(super) user: SourceUser,
    pub(super) status_known: bool,
}

impl User<'_> {
    /// Unfolds the profile into a roster's user. A status that is new to rosterd, and a user without a login, mean
    /// [`Lifecycle::Pending`]: nothing is done to them until a person has looked.
    ///
    /// # Errors
    /// A profile that is no profile.
    pub(super) fn unfold(&self, statuses: &Statuses, keep: &Attributes) -> Result<Unfolded, serde_json::Error> {
        let profile: Profile<'_> = serde_json::from_str(self.profile.get())?;
        let text = |text: Option<Text<'_>>| text.filter(|t| !t.0.is_empty()).map(|t| SmolStr::from(&*t.0));
        let login = text(profile.login).unwrap_or_default();
        let means = statuses.of(&self.status);
        let lifecycle = if login.is_empty() { Lifecycle::Pending } else { means.unwrap_or(Lifecycle::Pending) };
        let user = SourceUser {
            key: SourceKey::from(&*self.id),
            login,
            email: text(profile.email),
            first_name: text(profile.first_name),
            last_name: text(profile.last_name),
            display_name: text(profile.display_name),
            status: SmolStr::from(&*self.status),
            lifecycle,
            profile: kept(self.profile, keep)?,
        };
        Ok(Unfolded { user, status_known: means.is_some() })
    }
}

/// The attributes to keep, ascending by name, each value as Okta spells it.
fn kept(profile: &RawValue, keep: &Attributes) -> Result<Option<Box<str>>, serde_json::Error> {
    let names = match keep {
        Attributes::None => return Ok(None),
        Attributes::Named(names) if names.is_empty() => return Ok(None),
        Attributes::Named(names) => Some(names),
        Attributes::All => None,
    };
    let all: BTreeMap<Text<'_>, &RawValue> = serde_json::from_str(profile.get())?;
    let some: BTreeMap<&str, &RawValue> = all
        .iter()
        .filter(|(name, _)| names.is_none_or(|names| names.contains(&*name.0)))
        .map(|(name, value)| (&*name.0, *value))
        .collect();
    Ok(Some(serde_json::to_string(&some)?.into_boxed_str()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const USER: &str = r#"{"id":"00u1","status":"ACTIVE","created":"2026-07-07T14:59:18.000Z","profile":{"login":"ann@x","email":"ann@x",
        "firstName":"Ann","lastName":null,"nickName":"\u00c4nn","costCenter":7,"tags":["a","b"]},"credentials":{"password":{}}}"#;

    fn unfold(json: &str, keep: &Attributes) -> Unfolded {
        let user: User<'_> = serde_json::from_str(json).expect("a user");
        user.unfold(&Statuses::new(&BTreeMap::new()).expect("defaults"), keep).expect("a profile")
    }

    fn named(names: &[&str]) -> Attributes {
        Attributes::Named(names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>())
    }

    #[test]
    fn a_user_is_unfolded_and_null_or_missing_is_none() {
        let user = unfold(USER, &Attributes::None).user;
        assert_eq!(user.key, SourceKey::from("00u1"));
        assert_eq!((&*user.login, user.email.as_deref(), user.first_name.as_deref()), ("ann@x", Some("ann@x"), Some("Ann")));
        assert_eq!((user.last_name, user.display_name, user.profile), (None, None, None));
        assert_eq!(user.lifecycle, Lifecycle::Entitled);
    }

    #[test]
    fn only_the_named_attributes_are_kept() {
        let kept = |keep: &Attributes| unfold(USER, keep).user.profile.map(String::from);
        assert_eq!(kept(&named(&["tags", "costCenter", "badge"])).as_deref(), Some(r#"{"costCenter":7,"tags":["a","b"]}"#));
        assert_eq!(kept(&named(&["badge"])).as_deref(), Some("{}"));
        assert_eq!(kept(&named(&[])), None);
        assert!(kept(&Attributes::All).is_some_and(|all| all.contains("nickName") && all.contains("login")));
    }

    #[test]
    fn a_status_of_which_rosterd_knows_nothing_means_wait() {
        let read = unfold(&USER.replace("ACTIVE", "ARCHIVED"), &Attributes::None);
        assert_eq!((read.user.lifecycle, read.status_known, &*read.user.status), (Lifecycle::Pending, false, "ARCHIVED"));
    }

    #[test]
    fn a_user_without_a_login_means_wait() {
        let read = unfold(r#"{"id":"00u2","status":"ACTIVE","profile":{"email":""}}"#, &Attributes::None);
        assert_eq!((read.user.lifecycle, read.status_known, read.user.email), (Lifecycle::Pending, true, None));
    }
}
