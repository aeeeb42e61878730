//! Writes, and the readings that tell whether a write is needed at all.
//!
//! Jira has no bulk writes, and none that may be repeated: to add a member who is one is 400, like most other things that are
//! refused. The texts are in the language of the account and decide nothing; the names of fields do, and where they do not
//! suffice the answer is a conflict, which makes the engine ask [`holds`]. What can be meant by user is meant by key.

use serde::Serialize;
use smol_str::SmolStr;

use secrecy::ExposeSecret;

use super::wire::{Errors, User};
use super::{Expand, Jira, Who, members, shown};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::{Act, Applied, Holds, Who as Whom};
use crate::http::atlassian::random_password;
use crate::http::wire::{Answer, Call};
use crate::model::desired::Attributes;
use crate::model::key::{fold, group_key};
use crate::model::roster::TargetUser;

/// What `POST user` and `PUT user` take. A field that is left out stays as it is.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<bool>,
}

/// What `POST user` takes besides. Not `Debug`, since it holds a password.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewUser<'a> {
    #[serde(flatten)]
    fields: Fields<'a>,
    password: &'a str,
    application_keys: &'a [String],
    /// Text in the vendor's document, not a boolean.
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<&'a str>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

impl<'a> Fields<'a> {
    /// What differs. A name that differs in case alone is the same name, and what Jira hides (`None` before) cannot be said
    /// to differ; but where an address is wanted all the same, the plan knows that it changed since it was last written.
    fn between(before: &Attributes, after: &'a Attributes) -> Self {
        let differing = |before: &Option<SmolStr>, after: &'a Option<SmolStr>| match (before, after) {
            (Some(before), Some(after)) if before != after => Some(&**after),
            (Some(_) | None, Some(_) | None) => None,
        };
        let email_address = match &before.email {
            Some(_) => differing(&before.email, &after.email),
            None => after.email.as_deref(),
        };
        Self {
            name: (fold(&before.name) != fold(&after.name)).then_some(&*after.name),
            email_address,
            display_name: differing(&before.display_name, &after.display_name),
            active: None,
        }
    }

    fn is_empty(&self) -> bool {
        let Self { name, email_address, display_name, active } = self;
        name.is_none() && email_address.is_none() && display_name.is_none() && active.is_none()
    }

    /// Whether the user looks so. A hidden attribute is taken for right.
    fn hold(&self, user: &TargetUser) -> bool {
        let same = |wanted: Option<&str>, told: &Option<SmolStr>| match (wanted, told) {
            (Some(wanted), Some(told)) => wanted == &**told,
            (None, _) | (_, None) => true,
        };
        self.name.is_none_or(|name| fold(name) == fold(&user.name))
            && same(self.email_address, &user.email)
            && same(self.display_name, &user.display_name)
            && self.active.is_none_or(|active| active == user.active)
    }
}

/// Makes one call.
pub(super) async fn apply(jira: &Jira, act: Act<'_>) -> Result<Applied, ConnectorError> {
    let request = match act {
        Act::CreateGroup { name } => {
            let call = Call::post("rest/api/2/group", format!("create group \"{name}\"")).json(&Named { name });
            write(jira, call, &[name]).await?.request
        }
        Act::UpdateUser { user, before, after } => update(jira, user, "update", Fields::between(before, after)).await?,
        Act::CreateUser { attributes } => return create(jira, attributes).await,
        Act::ActivateUser { user } => update(jira, user, "activate", Fields { active: Some(true), ..Fields::default() }).await?,
        Act::DeactivateUser { user } => {
            update(jira, user, "deactivate", Fields { active: Some(false), ..Fields::default() }).await?
        }
        Act::AddMembers { group, users } => {
            let mut last = None;
            for user in users {
                let doing = format!("add user {} to group \"{group}\"", shown(user.key.as_str()));
                let call = Call::post("rest/api/2/group/user", doing).query("groupname", group).json(&Named { name: user.name });
                last = write(jira, call, &[user.name, group]).await?.request;
            }
            last
        }
        Act::RemoveMember { group, user } => {
            let doing = format!("remove user {} from group \"{group}\"", shown(user.key.as_str()));
            let call = Call::delete("rest/api/2/group/user", doing).query("groupname", group).query("username", user.name);
            write(jira, call, &[user.name, group]).await?.request
        }
        Act::DeleteUser { user } => delete(jira, user).await?,
    };
    Ok(Applied { request, ..Applied::default() })
}

/// Sends a write and reads a 400: `names` are those that Jira may quote in it.
async fn write(jira: &Jira, call: Call, names: &[&str]) -> Result<Answer, ConnectorError> {
    let answer = jira.send(call.accept(400)).await?;
    if answer.status == 400 {
        return Err(refusal(jira, &answer, names).request(answer.request));
    }
    insist_on_no_page(jira, answer)
}

/// A login page stands where an answer should be: with 200, it would pass for success. An answer without a body is no page,
/// whatever Jira calls it.
fn insist_on_no_page(jira: &Jira, answer: Answer) -> Result<Answer, ConnectorError> {
    let kind = answer.headers.get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if answer.body.is_empty() || !kind.to_ascii_lowercase().contains("html") {
        return Ok(answer);
    }
    let error =
        jira.error(answer.doing, Fault::Malformed, "an HTML page instead of an answer of the API").request(answer.request);
    Err(error.hint("a login page or a proxy stands in between: let rosterd past it"))
}

/// What a 400 means.
fn refusal(jira: &Jira, answer: &Answer, names: &[&str]) -> ConnectorError {
    let doing = answer.doing.clone();
    let Some(errors) = Errors::of(answer) else {
        return jira.error(doing, Fault::Malformed, "answered 400 without an error of Jira's REST API");
    };
    let why = format!("jira answered 400: {}", errors.words());
    if speaks_of_licence(&errors, names) {
        let error = jira.error(doing, Fault::LicenceFull, why);
        return error.hint("free a licence seat, or take application access out of this group");
    }
    // Complaints about these alone are about the value that was sent; about `username` they may mean that it is taken.
    const VALUES: [&str; 5] = ["emailAddress", "email", "displayName", "fullName", "password"];
    let fields = errors.fields();
    if !fields.is_empty() && fields.iter().all(|field| VALUES.iter().any(|value| value.eq_ignore_ascii_case(field))) {
        return jira.error(doing, Fault::Rejected, why).hint("correct the attribute at the source or in the mapping");
    }
    jira.error(doing, Fault::Conflict, why)
        .hint("jira does not change users of a read-only or LDAP directory, nor deactivate a project lead")
}

/// Whether a refusal is about licence seats. This is the one guess by words, in English alone; a refusal in another language
/// counts as a conflict, which is read and found not to hold. Names are taken out first, for a group may be called so.
fn speaks_of_licence(errors: &Errors, names: &[&str]) -> bool {
    errors.texts().any(|text| {
        let text = names.iter().fold(fold(text), |text, name| text.replace(&fold(name), ""));
        let about = text.contains("license") || text.contains("licence");
        about && (text.contains("limit") || text.contains("exceed"))
    })
}

async fn update(jira: &Jira, user: Whom<'_>, verb: &str, fields: Fields<'_>) -> Result<Option<Box<str>>, ConnectorError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let key = user.key.as_str();
    let call = Call::put("rest/api/2/user", format!("{verb} user {}", shown(key))).query("key", key).json(&fields);
    write(jira, call, &[user.name]).await.map(|answer| answer.request)
}

async fn delete(jira: &Jira, user: Whom<'_>) -> Result<Option<Box<str>>, ConnectorError> {
    let key = user.key.as_str();
    let call = Call::delete("rest/api/2/user", format!("delete user {}", shown(key))).query("key", key).accept(400);
    let answer = jira.send(call).await?;
    if answer.status != 400 {
        return insist_on_no_page(jira, answer).map(|answer| answer.request);
    }
    let words = Errors::of(&answer).map_or_else(|| "no reason given".to_owned(), |errors| errors.words());
    let error = jira.error(answer.doing, Fault::Rejected, format!("jira answered 400: {words}")).request(answer.request);
    Err(error.hint("a user who still owns issues, comments or filters cannot be deleted: deactivate instead"))
}

/// Creates a user. With a password that nobody knows rather than with none, since then Jira makes one by rules of its own
/// that the instance's policy need not share.
async fn create(jira: &Jira, attributes: &Attributes) -> Result<Applied, ConnectorError> {
    let name = &*attributes.name;
    let doing = format!("create user {}", shown(name));
    let Some(email) = attributes.email.as_deref() else {
        let error = jira.error(doing, Fault::Rejected, "jira wants an e-mail address and the mapping gives none");
        return Err(error.hint("give the user an e-mail address at the source, or map one"));
    };
    let password = random_password();
    let display_name = Some(attributes.display_name.as_deref().unwrap_or(name));
    let new = NewUser {
        fields: Fields { name: Some(name), email_address: Some(email), display_name, active: None },
        password: password.expose_secret(),
        application_keys: &jira.application_keys,
        notification: jira.notify.then_some("true"),
    };
    let answer = write(jira, Call::post("rest/api/2/user", doing.clone()).json(&new), &[name, email]).await?;
    if let Ok(user) = answer.json::<User>()
        && fold(&user.name) == fold(name)
    {
        return Ok(made(user, answer.request));
    }
    // The vendor's document describes this answer by the bean that is sent, whose key and state are optional.
    match jira.user(Who::Name(name), Expand::Nothing).await? {
        Some(user) => Ok(made(user, answer.request)),
        None => {
            let error = jira.error(doing, Fault::Malformed, "jira says that the user was created and does not find it");
            Err(error.request(answer.request))
        }
    }
}

fn made(user: User, request: Option<Box<str>>) -> Applied {
    Applied { created: Some(user.into_target()), request, ..Applied::default() }
}

/// Reads whether what an act wants is already so.
pub(super) async fn holds(jira: &Jira, act: Act<'_>) -> Result<Holds, ConnectorError> {
    match act {
        Act::CreateGroup { name } => Ok(told(members::page(jira, name, 0).await?.is_some())),
        Act::UpdateUser { user, before, after } => {
            let fields = Fields::between(before, after);
            let user = jira.user(Who::Key(user.key.as_str()), Expand::Nothing).await?;
            Ok(told(user.is_some_and(|user| fields.hold(&user.into_target()))))
        }
        Act::CreateUser { attributes } => match jira.user(Who::Name(&attributes.name), Expand::Nothing).await? {
            Some(user) => Ok(Holds::Yes(Some(user.into_target()))),
            None => Ok(Holds::No),
        },
        Act::ActivateUser { user } => {
            let user = jira.user(Who::Key(user.key.as_str()), Expand::Nothing).await?;
            Ok(told(user.is_some_and(|user| user.active)))
        }
        // Nobody works with an account that is not there.
        Act::DeactivateUser { user } => {
            let user = jira.user(Who::Key(user.key.as_str()), Expand::Nothing).await?;
            Ok(told(user.is_none_or(|user| !user.active)))
        }
        Act::DeleteUser { user } => Ok(told(jira.user(Who::Key(user.key.as_str()), Expand::Nothing).await?.is_none())),
        Act::AddMembers { group, users } => {
            for user in users {
                if !is_member(jira, group, *user).await? {
                    return Ok(Holds::No);
                }
            }
            Ok(told(true))
        }
        Act::RemoveMember { group, user } => Ok(told(!is_member(jira, group, user).await?)),
    }
}

fn told(holds: bool) -> Holds {
    if holds { Holds::Yes(None) } else { Holds::No }
}

async fn is_member(jira: &Jira, group: &str, user: Whom<'_>) -> Result<bool, ConnectorError> {
    let group = group_key(group);
    let user = jira.user_with_groups(Who::Key(user.key.as_str())).await?;
    Ok(user.is_some_and(|(_, groups)| groups.iter().any(|name| group_key(name) == group)))
}
